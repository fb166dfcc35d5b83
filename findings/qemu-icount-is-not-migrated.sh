#!/usr/bin/env bash
# QEMU's migration stream has the counter of -icount, but not its shift: a destination with another shift, or without -icount,
# takes the stream without an error, and the guest's clock leaps forward or goes back.
#
# Versions: QEMU 10.0 (Debian 13); 7.2 (Debian 12) and 11.1 (backports of Debian 13) do the same.
#
# One would guess that a stream that does not fit the destination's clock is refused, as one of another machine type or another
# set of devices is, or that the clock simply continues, since the stream has a section for it ("timer/icount"). That section
# holds two numbers: the executed instructions, and the sum of all jumps. The clock is made of them by the destination's own
# shift, so with another shift all instructions since power-on count anew. Without -icount the section is loaded and ignored:
# the clock goes back to what a plain QEMU has counted, and timers that the guest has set wait for the time that is lost.
# (Only for shift=auto is the shift in the stream, and only a destination with shift=auto reads it.)
#
# The guest is SeaBIOS without anything to boot. Its clock is read from outside: the CMOS clock with -rtc clock=vm.
#
# Output seen (the numbers differ from run to run):
#   QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)
#   saved with shift=0: 395 s of the guest, 20 million instructions
#   shift=0: the clock continues (+0 s)
#   shift=10: the clock leaps forward (+21 s, as many as the instructions make: 20)
#   no icount: the clock goes back (-394 s)
#
# Needs mmdebstrap and root (or user namespaces). Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=apt --include=qemu-system-x86,seabios,ipxe-qemu,python3 trixie "$work/root" >&2
cat >"$work/root/clock.py" <<'PYTHON'
import atexit, calendar, json, subprocess, time

class Qemu:
    def __init__(self, *options):
        argv = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", "16M", "-nodefaults", "-display", "none", "-S",
                "-rtc", "base=2001-01-01,clock=vm", "-qmp", "stdio", *options]
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

    def clock(self):
        now = self.ask("qom-get", path="/machine", property="rtc-time")
        fields = ("tm_year", "tm_mon", "tm_mday", "tm_hour", "tm_min", "tm_sec")
        year, month, *rest = (now[field] for field in fields)
        return calendar.timegm((year + 1900, month + 1, *rest))

    def end(self):
        self.ask("quit")
        self.process.wait(60)

source = Qemu("-icount", "shift=0,sleep=off")
begin = source.clock()
source.ask("cont")
while source.clock() < begin + 100 or source.ask("query-replay")["icount"] < 20_000_000:
    time.sleep(0.1)
source.ask("stop")
saved, instructions = source.clock(), source.ask("query-replay")["icount"]
print(f"saved with shift=0: {saved - begin} s of the guest, {instructions // 1_000_000} million instructions")
source.ask("migrate", uri="file:/state")
source.wait("query-migrate", ("completed",))
source.end()

moved = {}
for name, options in (("shift=0", ["-icount", "shift=0,sleep=off"]), ("shift=10", ["-icount", "shift=10,sleep=off"]), ("no icount", [])):
    fork = Qemu("-incoming", "defer", *options)
    fork.ask("migrate-incoming", uri="file:/state")
    fork.wait("query-status", ("paused", "prelaunch", "postmigrate"))
    moved[name] = fork.clock() - saved
    fork.end()
leap = instructions * 1023 // 1_000_000_000
print(f"shift=0: the clock continues ({moved['shift=0']:+} s)")
print(f"shift=10: the clock leaps forward ({moved['shift=10']:+} s, as many as the instructions make: {leap})")
print(f"no icount: the clock goes back ({moved['no icount']:+} s)")
assert abs(moved["shift=0"]) <= 1 and abs(moved["shift=10"] - leap) <= 2 and leap > 10 and moved["no icount"] < -50
PYTHON
chroot "$work/root" qemu-system-x86_64 --version | head -1
chroot "$work/root" timeout 300 python3 /clock.py
