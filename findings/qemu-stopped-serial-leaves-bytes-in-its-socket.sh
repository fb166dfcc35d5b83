#!/usr/bin/env bash
# A stopped QEMU takes one byte of what is sent to a serial port on a Unix socket (16 with the port's FIFO on). The rest stays in
# the socket, which belongs to no device: a snapshot does not have it, and its sender is not told.
#
# Versions: QEMU 10.0 (Debian 13), Linux; 7.2 (Debian 12) does the same.
#
# One would guess that QEMU reads its character devices as they come, as it reads its monitor, and keeps the bytes for the guest;
# or that `stop` and `migrate` drain them, as they do for disks. Both directions are not alike: what the guest has sent is in the
# socket before `stop` returns, and what it was sent waits for room in the UART. So a protocol of packets and acknowledgements
# that looks idle from outside, because everything was received and answered, may have its last answer torn in a snapshot.
#
# The sender can see it: SIOCOUTQ of a Unix stream socket is not 0. It counts the kernel's buffers, not bytes, unlike that of TCP:
# three unread bytes, sent one by one, are 2304.
#
# There is no guest: the processors are stopped from the start, and the monitor reads the port as a guest would.
#
# Output seen:
#   QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)
#   sent: 4 bytes; the socket holds 2304 for 3 unread ones
#   restored from the snapshot: the port has 'a', and then nothing
#   the one that was saved: the port has 'a', and then 'b'
#
# Needs mmdebstrap and root (or user namespaces). Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=apt --include=qemu-system-x86,seabios,ipxe-qemu,python3 trixie "$work/root" >&2
cat >"$work/root/port.py" <<'PYTHON'
import atexit, fcntl, json, socket, subprocess, sys, termios, time

class Qemu:
    def __init__(self, name, *options):
        argv = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", "16M", "-nodefaults", "-display", "none", "-S",
                "-qmp", "stdio", "-chardev", f"socket,id=s,path={name},server=on,wait=off", "-serial", "chardev:s", *options]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        self.process.stdout.readline()
        self.ask("qmp_capabilities")

    def ask(self, name, **arguments):
        self.process.stdin.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        while True:
            answer = json.loads(self.process.stdout.readline())
            if "event" not in answer:
                return answer["return"]

    def wait(self, query, status):
        for _ in range(600):
            if self.ask(query).get("status") in status:
                return
            time.sleep(0.1)
        raise SystemExit(f"{query}: {self.ask(query)}")

    def port(self, number):
        """One byte of an I/O port: 'i' of the monitor reads it as the guest does."""
        said = self.ask("human-monitor-command", **{"command-line": f"i /b {number:#x}"})
        return int(said.split("=")[1], 16)

    def next_byte(self):
        """The next byte that the serial port has for the guest; empty if there is none within a second."""
        for _ in range(10):
            if self.port(0x3FD) & 1:
                return chr(self.port(0x3F8))
            time.sleep(0.1)
        return ""

saved = Qemu("/saved.sock")
sender = socket.socket(socket.AF_UNIX)
sender.connect("/saved.sock")
for byte in b"abcd":
    sender.send(bytes([byte]))
time.sleep(1)
unread = int.from_bytes(fcntl.ioctl(sender, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
print(f"sent: 4 bytes; the socket holds {unread} for 3 unread ones")
saved.ask("migrate", uri="file:/state")
saved.wait("query-migrate", ("completed",))
restored = Qemu("/restored.sock", "-incoming", "file:/state")
restored.wait("query-status", ("paused", "prelaunch", "postmigrate"))
new = [restored.next_byte(), restored.next_byte()]
print(f"restored from the snapshot: the port has {new[0]!r}, and then {new[1]!r}".replace("''", "nothing"))
old = [saved.next_byte(), saved.next_byte()]
print(f"the one that was saved: the port has {old[0]!r}, and then {old[1]!r}".replace("''", "nothing"))
sys.exit(0 if (new, old) == (["a", ""], ["a", "b"]) and unread > 3 else 1)
PYTHON
chroot "$work/root" qemu-system-x86_64 --version | head -1
chroot "$work/root" timeout 300 python3 /port.py
