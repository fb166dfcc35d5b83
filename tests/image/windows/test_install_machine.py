"""The VM that Setup runs in, and an installation in a double of a VM."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.errors import ConfigError, GuestExited, HostToolError, ImageError, TransportError
from lab.image.windows.install import InstallResult, install
from lab.image.windows.install_follow import written_bytes
from lab.image.windows.install_host import HostDiskFull, InstallEnded, InstallError, InstallStalled
from lab.image.windows.install_watch import Budgets
from lab.image.windows.machine import InstallPlan, install_machine
from lab.vm.argv import build_argv
from lab.vm.firmware import find_firmware
from lab.vm.qmp import QmpEvent
from lab.vm.spec import Firmware, VmSpec
from tests.machines import MachineDouble, MonitorDouble

BUDGETS = Budgets(stall_s=100, total_s=1000, screenshot_s=30, min_free_bytes=1, poll_s=1, exit_s=5)


@pytest.fixture
def plan(tmp_path: Path) -> InstallPlan:
    (tmp_path / "work").mkdir()
    for name in ("windows.iso", "payload.iso", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"):
        (tmp_path / name).write_bytes(b"x")
    return InstallPlan(
        name="w",
        accelerator="tcg",
        windows_iso=tmp_path / "windows.iso",
        payload_iso=tmp_path / "payload.iso",
        disk=tmp_path / "work" / "disk.qcow2",
        disk_gb=1,
        firmware=Firmware(tmp_path / "OVMF_CODE_4M.fd", tmp_path / "OVMF_VARS_4M.fd"),
    )


def test_the_vm_has_only_devices_that_windows_has_drivers_for(plan: InstallPlan) -> None:
    argv = build_argv(install_machine(plan))
    devices = [argv[index + 1] for index, item in enumerate(argv) if item == "-device"]
    assert devices == [
        "ide-hd,bus=ide.0,id=disk0,drive=drive0,bootindex=1",
        "ide-cd,bus=ide.1,id=cd0,drive=media0,bootindex=2",
        "ide-cd,bus=ide.2,id=cd1,drive=media1",
        "e1000e,romfile=,netdev=net0",
        "VGA",
        "qemu-xhci,id=usb",
        "usb-tablet,bus=usb.0",
        "vmcoreinfo",
        "vmgenid,guid=auto",
    ]
    text = " ".join(argv)
    assert f"file={plan.disk}.partial" in text
    assert "restrict=on" in text
    assert "sockets=1,cores=2" in text
    assert "ICH9-LPC.disable_s3=1" in text
    assert "driftfix=slew" in text
    assert text.count("if=pflash") == 2


def test_hyperv_flags_are_for_kvm_and_never_all_of_them(plan: InstallPlan) -> None:
    kvm = install_machine(replace(plan, accelerator="kvm"))
    assert "hv_stimer" in kvm.cpu
    assert "passthrough" not in kvm.cpu
    assert "vmx=off" in kvm.cpu
    assert "hv_" not in install_machine(plan).cpu
    assert install_machine(replace(plan, cpu="Skylake-Client")).cpu == "Skylake-Client"


def test_bios_has_no_flash(plan: InstallPlan) -> None:
    assert "if=pflash" not in " ".join(build_argv(install_machine(replace(plan, firmware=None))))


@pytest.mark.parametrize("name", ["OVMF_VARS_4M.ms.fd", "OVMF_VARS.secboot.fd"])
def test_secure_boot_is_refused(plan: InstallPlan, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="Secure Boot"):
        install_machine(replace(plan, firmware=Firmware(tmp_path / "OVMF_CODE_4M.fd", tmp_path / name)))


def test_firmware_is_found_without_enrolled_keys(tmp_path: Path) -> None:
    folder = tmp_path / "usr/share/OVMF"
    folder.mkdir(parents=True)
    for name in ("OVMF_CODE_4M.fd", "OVMF_CODE_4M.ms.fd", "OVMF_VARS_4M.ms.fd"):
        (folder / name).touch()
    with pytest.raises(HostToolError, match="no UEFI firmware") as caught:
        find_firmware(tmp_path)
    assert "apt-get install -y ovmf" in caught.value.hint
    (folder / "OVMF_VARS_4M.fd").touch()
    assert find_firmware(tmp_path) == Firmware(folder / "OVMF_CODE_4M.fd", folder / "OVMF_VARS_4M.fd")


class Script(MonitorDouble, MachineDouble):
    """A clock, and a VM whose guest does at each second what the test says."""

    def __init__(self, acts: Mapping[int, Callable[[Script], None]]) -> None:
        MonitorDouble.__init__(self)
        MachineDouble.__init__(self)
        self.alive = False
        self.now = 0.0
        self.alive = False
        self.answers: dict[str, Any] = {"query-blockstats": [], "query-status": {"status": "running"}}
        self.commands: list[str] = []
        self.exit_code: int | None = 0
        #: Events that the monitor still delivers when QEMU has ended.
        self.late: Callable[[], None] | None = None
        self._acts = dict(acts)
        self._folder = Path()

    # what install() is given
    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for second in sorted(self._acts):
            if second <= self.now:
                self._acts.pop(second)(self)

    def open(self, spec: VmSpec, folder: Path) -> Script:
        self._folder = folder
        return self

    # what the guest does
    def say(self, text: str) -> None:
        with (self._folder / "serial0.log").open("a", encoding="utf-8") as stream:
            stream.write(text + "\r\n")

    def event(self, name: str, **data: Any) -> None:
        self.happen(name, data)

    def writes(self, count: int) -> None:
        self.answers["query-blockstats"] = [{"device": "drive0", "stats": {"wr_bytes": count}}]

    def power_off(self) -> None:
        self.event("SHUTDOWN", guest=True, reason="guest-shutdown")
        self.alive = False

    # the VM and its monitor
    @property
    def qmp(self) -> Script:
        return self

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        self.commands.append(command)
        answer = self.answers.get(command, {})
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait_event(
        self,
        names: str | Collection[str],
        *,
        timeout: float,
        after: int = 0,
        where: Callable[[QmpEvent], bool] = lambda _event: True,
    ) -> QmpEvent:
        if self.late is not None:
            self.late()
        try:
            return super().wait_event(names, timeout=timeout, after=after, where=where)
        except TransportError:
            raise GuestExited("the monitor's connection ended") from None

    def screendump(self, target: Path, *, timeout: float = 10.0) -> Path:
        target.write_bytes(b"PNG")
        return target

    def wait_exit(self, timeout: float) -> int | None:
        self.alive = False
        return self.exit_code

    def console_tail(self, lines: int = 20) -> str:
        return "the last line"

    def exited_error(self) -> GuestExited:
        return GuestExited("QEMU ended with exit code 1")


class Quiet:
    """Progress that is not shown."""

    def stage(self, text: str) -> None: ...

    def detail(self, text: str) -> None: ...

    def done(self, text: str) -> None: ...


def follow(plan: InstallPlan, script: Script) -> InstallResult:
    logs = plan.disk.parent.parent / "logs"
    return install(
        plan, logs, progress=Quiet(), budgets=BUDGETS, clock=script.clock, sleep=script.sleep, open_machine=script.open
    )


def failing(plan: InstallPlan, script: Script, error: type[InstallError], match: str) -> InstallError:
    with pytest.raises(error, match=match) as caught:
        follow(plan, script)
    assert list(plan.disk.parent.iterdir()) == []
    return caught.value


def good_end(script: Script) -> None:
    script.say("LAB done ok")
    script.power_off()


def test_a_successful_installation_returns_the_disk_and_the_firmwares_variables(plan: InstallPlan) -> None:
    result = follow(plan, Script({70: good_end}))
    assert result.disk.is_file()
    assert result.firmware_vars == result.log_dir / "vars.fd"
    screens = [event.at_s for event in result.events if event.kind == "screenshot"]
    assert screens == [30, 60]
    assert result.duration_s == 70


def test_an_exit_that_is_seen_before_its_event_is_a_success(plan: InstallPlan) -> None:
    def gone(script: Script) -> None:
        script.say("LAB done ok")
        script.alive = False
        script.late = script.power_off

    result = follow(plan, Script({70: gone}))
    assert [event.kind for event in result.events][-2:] == ["shutdown", "exit"]


def test_the_first_write_ends_the_pressing_of_keys(plan: InstallPlan) -> None:
    script = Script({8: lambda guest: guest.writes(512), 20: good_end})
    result = follow(plan, script)
    assert [event.at_s for event in result.events if event.kind == "key"] == [5, 6, 7]
    assert script.commands.count("send-key") == 3


def test_a_paused_vm_means_a_full_disk(plan: InstallPlan) -> None:
    def full(script: Script) -> None:
        script.answers["query-status"] = {"status": "io-error"}
        script.event("STOP")

    failing(plan, Script({10: full}), HostDiskFull, "the host disk is full")


def test_another_write_error_is_not_called_a_full_disk(plan: InstallPlan) -> None:
    def broken(script: Script) -> None:
        script.event("BLOCK_IO_ERROR", device="drive0", operation="write", action="report", nospace=False, reason="I/O error")

    failing(plan, Script({10: broken}), HostDiskFull, "cannot write the disk file: I/O error")


def test_an_unreadable_cd_is_noted_and_left_to_setup(plan: InstallPlan) -> None:
    def scratched(script: Script) -> None:
        script.event("BLOCK_IO_ERROR", device="media0", operation="read", action="report", nospace=False, reason="I/O error")

    result = follow(plan, Script({10: scratched, 20: good_end}))
    assert [event.detail for event in result.events if event.kind == "disk-error"] == ["read media0: I/O error"]


def test_an_internal_error_of_the_virtual_cpu_ends_it(plan: InstallPlan) -> None:
    def broken(script: Script) -> None:
        script.answers["query-status"] = {"status": "internal-error"}
        script.event("STOP")

    failing(plan, Script({10: broken}), InstallEnded, "internal error")


def test_a_late_answer_of_the_monitor_is_not_an_error(plan: InstallPlan) -> None:
    def late(script: Script) -> None:
        script.answers["query-blockstats"] = TransportError("no answer within 10 s")

    result = follow(plan, Script({10: late, 20: good_end}))
    assert "no answer within 10 s" in {event.detail for event in result.events if event.kind == "monitor"}


def test_a_monitor_that_never_answers_again_is_a_stall(plan: InstallPlan) -> None:
    def late(script: Script) -> None:
        script.answers["query-blockstats"] = TransportError("no answer within 10 s")

    error = failing(plan, Script({10: late}), InstallStalled, "no reset, console output or disk write for 100 s")
    assert "the last line" in str(error)


def test_a_bad_exit_code_after_the_marker_is_no_success(plan: InstallPlan) -> None:
    script = Script({20: good_end})
    script.exit_code = 1
    failing(plan, script, InstallEnded, "exit code 1")


def test_a_missing_cd_is_reported_before_anything_is_made(plan: InstallPlan) -> None:
    plan.windows_iso.unlink()
    with pytest.raises(ImageError, match=r"there is no file .*windows\.iso"):
        follow(plan, Script({}))
    assert not (plan.disk.parent.parent / "logs").exists()


def test_writes_of_other_drives_do_not_count() -> None:
    other = {"device": "media0", "stats": {"wr_bytes": 7}}
    assert written_bytes([other]) == 0
    assert written_bytes([other, {"device": "drive0", "stats": {"wr_bytes": 5}}]) == 5
