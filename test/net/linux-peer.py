"""The host's own TCP as the peer of test/net/linux.test.ts: runs in a network namespace of its own (`unshare -n`), with a tap device as 10.9.0.1/24. Frames go over
stdout and come over stdin, each behind its length (u16, little-endian). Connects to 10.9.0.2:80, sends and receives BYTES at the same time, checks every byte;
one line on stderr says what came of it.  linux-peer.py BYTES CONGESTION"""
import fcntl, os, socket, struct, subprocess, sys, threading, time

BYTES, CONGESTION = int(sys.argv[1]), sys.argv[2]
tap = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH', b'tap0', 0x1002))  # TUNSETIFF: IFF_TAP | IFF_NO_PI
subprocess.check_call('ip addr add 10.9.0.1/24 dev tap0 && ip link set tap0 up', shell=True, stdout=subprocess.DEVNULL)
out, inp = os.fdopen(1, 'wb', 0), os.fdopen(0, 'rb')


def to_core():
    while True:
        frame = os.read(tap, 4096)
        out.write(struct.pack('<H', len(frame)) + frame)


def from_core():
    while True:
        head = inp.read(2)
        if len(head) < 2:
            os._exit(0)
        try:
            os.write(tap, inp.read(struct.unpack('<H', head)[0]))
        except OSError:
            pass


threading.Thread(target=to_core, daemon=True).start()
threading.Thread(target=from_core, daemon=True).start()
pattern = lambda seed: bytes(((i * 31 + seed * 7) & 255) ^ ((i >> 8) & 255) for i in range(65536))
ours, theirs = pattern(1), pattern(2) * 2
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, 13, CONGESTION.encode())  # TCP_CONGESTION
s.settimeout(100)
s.connect(('10.9.0.2', 80))


def send():
    left = BYTES
    while left > 0:
        n = min(left, 65536)
        s.sendall(ours[:n])
        left -= n
    s.shutdown(socket.SHUT_WR)


thread = threading.Thread(target=send)
thread.start()
got, wrong = 0, False
while not wrong:
    data = s.recv(65536)
    if not data:
        break
    wrong = data != theirs[got % 65536:got % 65536 + len(data)]
    got += len(data)
thread.join()
print('wrong bytes' if wrong else f'received {got}', file=sys.stderr)
sys.stderr.flush()
s.close()
time.sleep(0.2)
os._exit(0)
