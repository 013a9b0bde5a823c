"""Linux as the guest: a TAP device in a network namespace of its own, its frames on a stream as QEMU's -netdev stream has them.
Usage: tap.py [--address 10.0.2.15/24] [--gateway 10.0.2.2] [--mac 52:54:00:12:34:56] [--mtu 1500] PORT COMMAND... : connects to PORT of this host, makes the namespace,
runs the command in it, ends with its status. Status 77: it cannot be done here. `--gateway none`: no route but the own network."""
import argparse, ctypes, fcntl, os, socket, struct, subprocess, sys, threading

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
arguments = argparse.ArgumentParser()
arguments.add_argument('--address', default='10.0.2.15/24')
arguments.add_argument('--gateway', default='10.0.2.2')
arguments.add_argument('--mac', default='52:54:00:12:34:56')
arguments.add_argument('--mtu', default='1500')
arguments.add_argument('port', type=int)
arguments.add_argument('command', nargs=argparse.REMAINDER)
options = arguments.parse_args()
wire = socket.create_connection(('127.0.0.1', options.port))
wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
    sys.exit(77)
try:
    tap = os.open('/dev/net/tun', os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack('16sH', b'tap0', IFF_TAP | IFF_NO_PI))
    for line in ('link set lo up', f'link set tap0 address {options.mac} mtu {options.mtu} up', f'address add {options.address} dev tap0', f'route add default via {options.gateway}'):
        if 'none' not in line:
            subprocess.run(['ip', *line.split()], check=True)
except (OSError, subprocess.CalledProcessError) as error:
    print(error, file=sys.stderr)
    sys.exit(77)


def outward():
    while True:
        frame = os.read(tap, 65536)
        try:
            wire.sendall(struct.pack('>I', len(frame)) + frame)
        except OSError:
            return


def inward():
    stream = wire.makefile('rb', buffering=1 << 20)
    while True:
        head = stream.read(4)
        if len(head) < 4:
            return
        try:
            os.write(tap, stream.read(struct.unpack('>I', head)[0]))
        except OSError:
            pass


for part in (outward, inward):
    threading.Thread(target=part, daemon=True).start()
status = subprocess.run(options.command).returncode
sys.stdout.flush()
os._exit(status)
