"""Two TCP stacks of this host over a wire that delays and loses: for test/net/goodput.ts. Each stack lives in a network namespace of its own with a tap device; this process
relays frames between the taps. One line for each run on stdout: seconds from connect to the last byte received, and the
round trip as the sender has it (smoothed, at the end): a busy host makes the wire slower than it was asked to be.
linux-pair.py CONGESTION LOSS DELAY_SECONDS BYTES RUNS     (root, /dev/net/tun)"""
import ctypes, fcntl, heapq, os, random, select, socket, struct, subprocess, sys, time

CONGESTION, LOSS, DELAY, BYTES, RUNS = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
CLONE_NEWNET = 0x40000000


def end(address, role, seed):
    """A child in its own namespace; its tap's descriptor, a pipe with what it says, its process id."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    said, say = os.pipe()
    pid = os.fork()
    if pid != 0:
        os.close(say)
        _, fds, _, _ = socket.recv_fds(ours, 16, 1)
        return fds[0], said, pid, ours
    try:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), 'unshare: no network namespace')
        tap = os.open('/dev/net/tun', os.O_RDWR)
        fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH', b'tap0', 0x1002))  # TUNSETIFF: IFF_TAP | IFF_NO_PI
        subprocess.check_call(f'ip addr add {address}/24 dev tap0 && ip link set tap0 up', shell=True, stdout=subprocess.DEVNULL)
        socket.send_fds(theirs, [b'tap'], [tap])
        role(theirs, lambda text: os.write(say, f'{text}\n'.encode()))
        os._exit(0)
    except BaseException as error:
        print(error, file=sys.stderr)
        os._exit(1)


def receiver(control, say):
    listener = socket.socket()
    listener.bind(('10.9.0.2', 5000))
    listener.listen()
    control.send(b'listening')
    connection, _ = listener.accept()
    got = 0
    while got < BYTES:
        data = connection.recv(1 << 16)
        if not data:
            raise EOFError(f'ended after {got} bytes')
        got += len(data)
    say(time.monotonic())
    connection.close()


def sender(control, say):
    control.recv(16)  # both are there
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, 13, CONGESTION.encode())  # TCP_CONGESTION
    say(time.monotonic())
    s.connect(('10.9.0.2', 5000))
    piece, left = bytes(1 << 16), BYTES
    while left > 0:
        n = min(left, len(piece))
        s.sendall(piece[:n])
        left -= n
    say(struct.unpack_from('I', s.getsockopt(socket.IPPROTO_TCP, 11, 128), 68)[0] / 1e6)  # TCP_INFO: tcpi_rtt
    s.shutdown(socket.SHUT_WR)
    s.recv(1)


def run(seed):
    dice = random.Random(seed)
    tap_b, said_b, pid_b, control_b = end('10.9.0.2', receiver, seed)
    control_b.recv(16)
    tap_a, said_a, pid_a, control_a = end('10.9.0.1', sender, seed)
    control_a.send(b'go')
    wire, order = [], 0
    for tap in (tap_a, tap_b):
        os.set_blocking(tap, False)
    done = b''
    while not done:
        now = time.monotonic()
        while wire and wire[0][0] <= now:
            _, _, to, frame = heapq.heappop(wire)
            try:
                os.write(to, frame)
            except OSError:
                pass
        readable, _, _ = select.select([tap_a, tap_b, said_b], [], [], max(0, wire[0][0] - time.monotonic()) if wire else 0.1)
        for tap, to in ((tap_a, tap_b), (tap_b, tap_a)):
            while tap in readable:
                try:
                    frame = os.read(tap, 4096)
                except BlockingIOError:
                    break
                order += 1
                if dice.random() >= LOSS:
                    heapq.heappush(wire, (time.monotonic() + DELAY, order, to, frame))
        if said_b in readable:
            done = os.read(said_b, 64)
            if not done:
                sys.exit('the receiver failed')
    began, rtt = os.read(said_a, 64).split()
    for pid in (pid_a, pid_b):
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    for fd in (tap_a, tap_b, said_a, said_b):
        os.close(fd)
    print(float(done) - float(began), float(rtt), flush=True)


for seed in range(1, RUNS + 1):
    run(seed)
