"""Real QEMU with guests of a few bytes: start, ports, events, every way to end."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from lab.errors import ConfigError, GuestExited, HostToolError, TransportError
from lab.host.process import run
from lab.host.unix_socket import connect_unix
from lab.vm.argv import build_argv
from lab.vm.machine import COMMAND_FILE, VirtualMachine
from lab.vm.qmp import CommandRefused
from lab.vm.spec import Actions, CdDrive, Disk, MemoryFile, Nic, SerialPort, VmSpec

RomMaker = Callable[..., Path]
Poll = Callable[..., None]


def small(rom: Path, **changes: Any) -> VmSpec:
    return VmSpec(**{"name": "tiny", "bios": rom, "memory_mb": 32, **changes})


def test_a_started_vm_runs_records_its_console_and_forwards_ports(
    tmp_path: Path, make_rom: RomMaker, asm: Any, wait_for: Poll
) -> None:
    spec = small(make_rom(asm.say("first\r\nsecond\r\n")), nic=Nic(forwards=(22, 5985)))
    with VirtualMachine(spec, tmp_path / "run") as machine:
        machine.start()
        assert machine.alive
        assert machine.status == "running"
        assert set(machine.ports) == {22, 5985}
        for port in machine.ports.values():
            # The guest has no network; that the connection is accepted shows that QEMU listens there.
            with socket.create_connection(("127.0.0.1", port), timeout=30):
                pass
        wait_for(lambda: machine.console_tail() == "first\nsecond", "both console lines")
        assert machine.console_tail(1) == "second"
        pid = machine.pid
    assert not machine.alive
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_deep_run_folder_does_not_break_the_sockets(tmp_path: Path, make_rom: RomMaker, asm: Any, wait_for: Poll) -> None:
    run_dir = tmp_path / ("d" * 100) / ("e" * 100)
    spec = small(make_rom(asm.say("over the socket")), serials=(SerialPort("socket"),), paused=True)
    with VirtualMachine(spec, run_dir) as machine:
        machine.start()
        assert len(os.fsencode(run_dir / "qmp.sock")) > 108
        assert machine.status in {"paused", "prelaunch"}
        with connect_unix(run_dir / "serial0.sock", timeout=30) as connection:
            machine.cont()
            received = b""
            while len(received) < 15:
                received += connection.recv(100)
        assert received == b"over the socket"
        wait_for(lambda: (run_dir / "serial0.log").read_bytes() == received, "the log beside the socket")


def test_pause_and_cont_stop_and_start_the_cpu(tmp_path: Path, make_rom: RomMaker) -> None:
    with VirtualMachine(small(make_rom()), tmp_path / "run") as machine:
        machine.start()
        machine.pause()
        assert machine.status == "paused"
        machine.cont()
        assert machine.status == "running"
        assert [event.name for event in machine.qmp.events() if event.name in {"STOP", "RESUME"}] == ["STOP", "RESUME"]


def test_the_power_button_ends_a_guest_that_obeys_it(tmp_path: Path, make_rom: RomMaker, asm: Any, wait_for: Poll) -> None:
    rom = make_rom(asm.power_button_setup(), asm.say("armed"), asm.obey_power_button)
    with VirtualMachine(small(rom), tmp_path / "run") as machine:
        machine.start()
        wait_for(lambda: machine.console_tail() == "armed", "the guest's power management")
        assert machine.powerdown(60) == "powerdown"
        assert machine.wait_exit(30) == 0
        shutdown = machine.qmp.wait_event("SHUTDOWN", timeout=30)
        assert shutdown.data["guest"] is True
        assert shutdown.data["reason"] == "guest-shutdown"


def test_a_guest_that_ignores_the_power_button_is_quit(tmp_path: Path, make_rom: RomMaker) -> None:
    with VirtualMachine(small(make_rom()), tmp_path / "run") as machine:
        machine.start()
        assert machine.powerdown(0.05) == "quit"
        assert machine.wait_exit(30) == 0


def test_a_qemu_that_does_not_answer_is_killed(tmp_path: Path, make_rom: RomMaker) -> None:
    with VirtualMachine(small(make_rom()), tmp_path / "run", patience=0.3) as machine:
        machine.start()
        os.kill(machine.pid, signal.SIGSTOP)
        assert machine.powerdown(0) == "kill"
        assert machine.wait_exit(30) == -signal.SIGKILL


def test_a_bad_argument_is_reported_with_qemus_words_and_the_command(tmp_path: Path, make_rom: RomMaker) -> None:
    run_dir = tmp_path / "run"
    with (
        VirtualMachine(small(make_rom(), machine="no-such-machine"), run_dir) as machine,
        pytest.raises(GuestExited) as caught,
    ):
        machine.start()
    text = str(caught.value)
    assert "exit code 1" in text
    assert "unsupported machine type" in text
    assert str(run_dir / COMMAND_FILE) in text


def test_the_command_file_runs_by_hand(tmp_path: Path, make_rom: RomMaker) -> None:
    run_dir = tmp_path / "run"
    with VirtualMachine(small(make_rom(), machine="no-such-machine"), run_dir) as machine, pytest.raises(GuestExited):
        machine.start()
    script = run_dir / COMMAND_FILE
    assert stat.S_IMODE(script.stat().st_mode) & stat.S_IXUSR
    result = run([script], 60, check=False)
    assert result.exit_code == 1
    assert "unsupported machine type" in result.stderr


def test_a_missing_binary_is_a_host_tool_error(tmp_path: Path, make_rom: RomMaker) -> None:
    machine = VirtualMachine(small(make_rom(), qemu="qemu-system-none"), tmp_path / "run")
    with pytest.raises(HostToolError, match="qemu-system-none: No such file"):
        machine.start()
    assert not machine.alive


def test_a_killed_qemu_is_an_exited_guest_with_its_last_console_lines(
    tmp_path: Path, make_rom: RomMaker, asm: Any, wait_for: Poll
) -> None:
    with VirtualMachine(small(make_rom(asm.say("loading driver"))), tmp_path / "run") as machine:
        machine.start()
        wait_for(lambda: machine.console_tail() == "loading driver", "the console line")
        os.kill(machine.pid, signal.SIGKILL)
        with pytest.raises(GuestExited, match="killed by signal 9") as caught:
            machine.qmp.wait_event("RESET", timeout=60)
        assert "loading driver" in str(caught.value)
        with pytest.raises(GuestExited, match="killed by signal 9"):
            machine.pause()
        assert not machine.alive


def test_a_guest_that_ends_at_once_is_an_exited_guest(tmp_path: Path, make_rom: RomMaker, asm: Any) -> None:
    """Whether it ends before, during or after the monitor's greeting."""
    spec = small(make_rom(asm.say("bye"), asm.out(0xCF9, 6)), actions=Actions(reboot="shutdown"))

    def use(machine: VirtualMachine) -> None:
        machine.start()
        machine.qmp.wait_event("NEVER", timeout=60)

    with VirtualMachine(spec, tmp_path / "run") as machine, pytest.raises(GuestExited, match="exit code 0"):
        use(machine)


def test_resets_and_panics_are_recorded(tmp_path: Path, make_rom: RomMaker, asm: Any) -> None:
    rom = make_rom(asm.out(0x505, 1), asm.out(0xCF9, 6))
    # Paused at first: a guest that ends within milliseconds may be gone before the monitor is connected.
    spec = small(rom, panic_device=True, actions=Actions(reboot="shutdown"), paused=True)
    with VirtualMachine(spec, tmp_path / "run") as machine:
        machine.start()
        machine.cont()
        panic = machine.qmp.wait_event("GUEST_PANICKED", timeout=60)
        assert panic.data["action"] == "run"
        shutdown = machine.qmp.wait_event("SHUTDOWN", timeout=60, after=panic.index)
        assert shutdown.data["reason"] == "guest-reset"
        machine.wait_exit(60)
        assert [line.split()[0] for line in machine.history()][:3] == ["RESUME", "GUEST_PANICKED", "SHUTDOWN"]


def test_a_guest_can_restart_inside_of_its_vm_while_that_is_allowed(tmp_path: Path, make_rom: RomMaker, asm: Any) -> None:
    """As a restart for Driver Verifier does: :mod:`lab.live.restart`."""
    spec = small(make_rom(asm.out(0xCF9, 6)), actions=Actions(reboot="shutdown"), paused=True)
    with VirtualMachine(spec, tmp_path / "run") as machine:
        machine.start()
        machine.qmp.execute("set-action", {"reboot": "reset"})
        machine.cont()
        first = machine.qmp.wait_event("RESET", timeout=60)
        assert first.data == {"guest": True, "reason": "guest-reset"}
        machine.qmp.wait_event("RESET", timeout=60, after=first.index)
        assert machine.alive
        machine.qmp.execute("set-action", {"reboot": "shutdown"})
        machine.wait_exit(60)
        assert "SHUTDOWN" in machine.history()[-1]


def test_the_reset_button_resets(tmp_path: Path, make_rom: RomMaker) -> None:
    with VirtualMachine(small(make_rom()), tmp_path / "run") as machine:
        machine.start()
        machine.reset()
        assert machine.qmp.wait_event("RESET", timeout=60).data["guest"] is False


def test_a_screen_shot_is_a_picture_and_needs_a_display(tmp_path: Path, make_rom: RomMaker) -> None:
    with VirtualMachine(small(make_rom(), display=True), tmp_path / "with") as machine:
        machine.start()
        picture = machine.screendump(tmp_path / "shot.png")
        assert picture.read_bytes()[:4] in {b"\x89PNG", b"P6\n6", b"P6\n7"}
    with VirtualMachine(small(make_rom()), tmp_path / "without") as machine:
        machine.start()
        with pytest.raises(CommandRefused):
            machine.screendump(tmp_path / "none.png")


def test_overlays_are_written_and_bases_are_not(tmp_path: Path, make_rom: RomMaker) -> None:
    base = tmp_path / "base, with a comma.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", base, "16M"], 60)
    before = base.read_bytes()
    spec = small(make_rom(), disks=(Disk(base), Disk(base, interface="ide")), cds=(CdDrive(), CdDrive()))
    with VirtualMachine(spec, tmp_path / "run") as machine:
        machine.start()
        machine.qmp.hmp('qemu-io drive0 "write -P 7 0 4096"')
        files = {block["device"]: block.get("inserted", {}).get("file") for block in machine.qmp.execute("query-block")}
        assert files["drive0"] == "overlay.qcow2"
        assert files["drive1"] == "overlay1.qcow2"
        assert machine.powerdown(0) == "quit"
    assert base.read_bytes() == before
    assert str(base) in run(["qemu-img", "info", tmp_path / "run" / "overlay.qcow2"], 60).stdout


def test_a_medium_goes_into_an_empty_drive(tmp_path: Path, make_rom: RomMaker) -> None:
    medium = tmp_path / "media.iso"
    medium.write_bytes(bytes(1 << 20))
    with VirtualMachine(small(make_rom(), cds=(CdDrive(),)), tmp_path / "run") as machine:
        machine.start()
        machine.qmp.execute("blockdev-change-medium", {"id": "cd0", "filename": str(medium), "format": "raw"})
        machine.qmp.wait_event("DEVICE_TRAY_MOVED", timeout=60, where=lambda event: event.data["tray-open"] is False)
        (block,) = machine.qmp.execute("query-block")
        assert block["inserted"]["file"] == str(medium)


def test_a_missing_base_names_the_file(tmp_path: Path, make_rom: RomMaker) -> None:
    with pytest.raises(ConfigError, match=r"gone\.qcow2"):
        VirtualMachine(small(make_rom(), disks=(Disk(tmp_path / "gone.qcow2"),)), tmp_path / "run").start()


def test_a_fork_continues_from_a_snapshot(tmp_path: Path, make_rom: RomMaker, asm: Any, wait_for: Poll) -> None:
    """The fields of the spec and the monitor suffice for a snapshot and a fork; the guest's RAM and CPU state come along."""
    ram = tmp_path / "guest.ram"
    state = tmp_path / "guest.state"
    # After "ready" the guest waits for the power button, which only the fork gets.
    rom = make_rom(asm.power_button_setup(), asm.say("ready"), asm.obey_power_button)
    capabilities = {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}
    with VirtualMachine(small(rom, memory=MemoryFile(ram, share=True)), tmp_path / "template") as template:
        template.start()
        wait_for(lambda: template.console_tail() == "ready", "the guest's power management")
        template.pause()
        template.qmp.execute("migrate-set-capabilities", capabilities)
        template.qmp.execute("migrate", {"uri": f"exec:cat > {state}"})
        wait_for(lambda: template.qmp.execute("query-migrate")["status"] == "completed", "the device state to be saved")
        assert template.powerdown(0) == "quit"
    assert state.stat().st_size < 8 << 20  # the RAM is not in it
    fork = VirtualMachine(small(rom, memory=MemoryFile(ram, share=False), incoming="defer"), tmp_path / "fork")
    with fork as machine:
        machine.start()
        assert machine.status == "inmigrate"
        machine.qmp.execute("migrate-set-capabilities", capabilities)
        machine.qmp.execute("migrate-incoming", {"uri": f"exec:cat {state}"})
        # The snapshot was taken while paused, so the fork is paused.
        wait_for(lambda: machine.status == "paused", "the device state to be loaded")
        machine.cont()
        assert machine.powerdown(60) == "powerdown"


OWNER = """
import sys, threading, time
from pathlib import Path
from lab.vm.machine import VirtualMachine
from lab.vm.spec import VmSpec

machine = VirtualMachine(VmSpec(name="owned", bios=Path(sys.argv[1]), memory_mb=32), Path(sys.argv[2]))
# The thread that starts it ends at once; the guest must not notice.
thread = threading.Thread(target=machine.start, kwargs={"detached": sys.argv[3] == "detached"})
thread.start()
thread.join()
print(machine.pid, machine._process.supervisor_pid, machine.status, flush=True)
if sys.argv[3] == "owned":
    time.sleep(600)
machine.close()
"""


def _owner(rom: Path, run_dir: Path, kind: str) -> tuple[subprocess.Popen[str], int, int]:
    command = [sys.executable, "-c", OWNER, str(rom), str(run_dir), kind]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    qemu, supervisor, status = owner.stdout.readline().split()
    assert status == "running"
    return owner, int(qemu), int(supervisor)


def test_no_qemu_survives_a_killed_owner(
    tmp_path: Path, make_rom: RomMaker, wait_for: Poll, is_gone: Callable[[int], bool]
) -> None:
    owner, qemu, supervisor = _owner(make_rom(), tmp_path / "run", "owned")
    with owner:
        assert not is_gone(qemu)
        owner.kill()
    wait_for(lambda: is_gone(qemu), "QEMU to end")
    wait_for(lambda: is_gone(supervisor), "its supervisor to end")


def test_no_qemu_survives_a_killed_supervisor(tmp_path: Path, make_rom: RomMaker, wait_for: Poll) -> None:
    with VirtualMachine(small(make_rom()), tmp_path / "run") as machine:
        machine.start()
        process = machine._process
        assert process
        os.kill(process.supervisor_pid, signal.SIGKILL)
        wait_for(lambda: not machine.alive, "the supervisor to end")
        assert machine.wait_exit(30) is None
        with pytest.raises(GuestExited, match="killed by another process"):
            machine.cont()


def test_a_detached_vm_outlives_its_starter_and_is_found_again(
    tmp_path: Path, make_rom: RomMaker, wait_for: Poll, is_gone: Callable[[int], bool]
) -> None:
    run_dir = tmp_path / "run"
    owner, qemu, supervisor = _owner(make_rom(), run_dir, "detached")
    with owner:
        assert owner.wait(60) == 0
    try:
        assert not is_gone(qemu)
        with VirtualMachine.attach(run_dir) as machine:
            assert machine.pid == qemu
            assert machine.alive
            assert machine.status == "running"
        assert not is_gone(qemu)  # detaching does not end it
        with VirtualMachine.attach(run_dir) as machine:
            assert machine.powerdown(0) == "quit"
        wait_for(lambda: is_gone(supervisor), "the supervisor to end")
        with pytest.raises(GuestExited, match="has ended"):
            VirtualMachine.attach(run_dir)
    finally:
        if not is_gone(supervisor):
            os.kill(supervisor, signal.SIGTERM)
            wait_for(lambda: is_gone(qemu), "QEMU to end by its supervisor")


def test_sigterm_to_the_supervisor_ends_a_detached_vm(
    tmp_path: Path, make_rom: RomMaker, wait_for: Poll, is_gone: Callable[[int], bool]
) -> None:
    machine = VirtualMachine(small(make_rom()), tmp_path / "run")
    machine.start(detached=True)
    process = machine._process
    assert process
    os.kill(process.supervisor_pid, signal.SIGTERM)
    wait_for(lambda: is_gone(process.pid), "QEMU to end")
    assert machine.wait_exit(30) == 0
    machine.close()


def test_nothing_to_attach_to(tmp_path: Path) -> None:
    with pytest.raises(GuestExited, match="no virtual machine was started"):
        VirtualMachine.attach(tmp_path)


def test_close_is_idempotent_and_leaves_nothing_open(
    tmp_path: Path, make_rom: RomMaker, open_fds: Callable[[], Iterable[str]]
) -> None:
    before = sorted(open_fds())
    machine = VirtualMachine(small(make_rom()), tmp_path / "run")
    machine.start()
    assert len(list(open_fds())) > len(before)
    machine.close()
    machine.close()
    assert len(list(open_fds())) == len(before)
    with pytest.raises(GuestExited):
        machine.cont()


def test_wait_exit_names_the_process_that_still_runs(tmp_path: Path, make_rom: RomMaker) -> None:
    with VirtualMachine(small(make_rom()), tmp_path / "run") as machine:
        machine.start()
        with pytest.raises(TransportError, match="still runs"):
            machine.wait_exit(0.01)


def test_the_command_is_the_spec_s(tmp_path: Path, make_rom: RomMaker) -> None:
    spec = small(make_rom())
    with VirtualMachine(spec, tmp_path / "run") as machine:
        machine.start()
        running = Path(f"/proc/{machine.pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    assert running == build_argv(spec)
