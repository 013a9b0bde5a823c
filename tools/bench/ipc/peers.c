/*
 * What the host's own kernel takes for the same thing: a byte there and a byte back between two processes, by pipe, Unix socket and futex, either
 * wherever the scheduler puts them ("free") or both on one CPU ("one"). Prints `name placement ns` per sample; a sample is the mean of TRIPS trips.
 * Method of lmbench's lat_pipe and lat_unix: microseconds per round trip, both context switches included.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { TRIPS = 16 };
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
static void must(int ok, const char *what) { if (!ok) { perror(what); exit(1); } }

static int there[2], back[2];
static void pipe_client(void) { char c = 1; must(write(there[1], &c, 1) == 1 && read(back[0], &c, 1) == 1, "pipe"); }
static void pipe_server(void) { char c; while (read(there[0], &c, 1) == 1) must(write(back[1], &c, 1) == 1, "pipe"); }

static int ends[2];
static void unix_client(void) { char c = 1; must(write(ends[0], &c, 1) == 1 && read(ends[0], &c, 1) == 1, "socket"); }
static void unix_server(void) { char c; while (read(ends[1], &c, 1) == 1) must(write(ends[1], &c, 1) == 1, "socket"); }

static volatile int *turn;
static void await(int value) { while (__atomic_load_n(turn, __ATOMIC_ACQUIRE) != value) syscall(SYS_futex, turn, FUTEX_WAIT, 1 - value, NULL, NULL, 0); }
static void pass(int value) { __atomic_store_n(turn, value, __ATOMIC_RELEASE); syscall(SYS_futex, turn, FUTEX_WAKE, 1, NULL, NULL, 0); }
static void futex_client(void) { pass(1); await(0); }
static void futex_server(void) { for (;;) { await(1); pass(0); } }

static void measure(const char *name, int one, void (*client)(void), void (*server)(void), int samples) {
    cpu_set_t before, first;
    sched_getaffinity(0, sizeof before, &before);
    if (one) { CPU_ZERO(&first); for (int c = 0; c < CPU_SETSIZE; c++) if (CPU_ISSET(c, &before)) { CPU_SET(c, &first); break; } sched_setaffinity(0, sizeof first, &first); }
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) { server(); _exit(0); }
    for (int i = 0; i < 200; i++) client();
    for (int s = 0; s < samples; s++) {
        double start = now();
        for (int i = 0; i < TRIPS; i++) client();
        printf("%s %s %.0f\n", name, one ? "one" : "free", (now() - start) / TRIPS);
    }
    fflush(stdout);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    sched_setaffinity(0, sizeof before, &before);
}
int main(int argc, char **argv) {
    int samples = argc > 1 ? atoi(argv[1]) : 500;
    must(pipe(there) == 0 && pipe(back) == 0, "pipe");
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
    turn = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(turn != MAP_FAILED, "mmap");
    for (int one = 0; one < 2; one++) {
        measure("pipe", one, pipe_client, pipe_server, samples);
        measure("unix socket", one, unix_client, unix_server, samples);
        *turn = 0;
        measure("futex", one, futex_client, futex_server, samples);
    }
    return 0;
}
