from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lab.errors import HostToolError
from lab.host.accel import probe_accelerators
from lab.host.probe_rom import MAGIC, SOURCE_SHA256, probe_rom
from lab.host.process import Finished, run, run_quick


class Runner:
    """A double of QEMU: an answer, or an error, by accelerator; records what was run."""

    def __init__(self, **answers: int | str | HostToolError) -> None:
        self.answers = answers
        self.ran: list[str] = []

    def __call__(self, argv: Sequence[str], timeout: float) -> Finished:
        name = argv[argv.index("-accel") + 1]
        self.ran.append(name)
        assert 0 < timeout <= 60
        answer = self.answers[name]
        if isinstance(answer, HostToolError):
            raise answer
        code, text = (answer, "") if isinstance(answer, int) else (1, answer)
        return Finished(tuple(argv), code, "", text, 0.25)


HANGS = HostToolError(["qemu-system-x86_64"], None, message="qemu-system-x86_64 did not end within 10 s and was killed")


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def test_kvm_is_best_where_a_guest_runs_on_it(cache: Path, device: Path) -> None:
    found = probe_accelerators(cache, runner=Runner(kvm=85, tcg=85), device=device)
    assert found.kvm.usable
    assert found.tcg.usable
    assert found.best == "kvm"
    assert "0.25 s" in found.kvm.reason


def test_a_device_that_opens_and_hangs_is_not_usable(cache: Path, device: Path) -> None:
    found = probe_accelerators(cache, runner=Runner(kvm=HANGS, tcg=85), device=device)
    assert not found.kvm.usable
    assert "did not end within 10 s" in found.kvm.reason
    assert "hangs" in found.kvm.reason
    assert found.best == "tcg"


def test_qemus_own_words_are_the_reason(cache: Path, device: Path) -> None:
    found = probe_accelerators(cache, runner=Runner(kvm="warning\nfailed to initialize kvm: Busy\n", tcg=0), device=device)
    assert found.kvm.reason.endswith("QEMU said: failed to initialize kvm: Busy")
    assert "exit code 0" in found.tcg.reason
    assert found.best is None


def test_without_a_device_no_guest_is_started(cache: Path, tmp_path: Path) -> None:
    runner = Runner(tcg=85)
    found = probe_accelerators(cache, runner=runner, device=tmp_path / "absent")
    assert found.kvm.reason.endswith("absent does not exist")
    assert runner.ran == ["tcg"]


def test_no_qemu_means_no_accelerator(cache: Path) -> None:
    found = probe_accelerators(cache, qemu="qemu-system-none", runner=Runner())
    assert found.best is None
    assert "not installed" in found.tcg.reason


def test_the_result_is_cached_until_a_new_probe_is_asked_for(cache: Path, device: Path) -> None:
    first = probe_accelerators(cache, runner=Runner(kvm=HANGS, tcg=85), device=device)
    again = Runner()
    assert probe_accelerators(cache, runner=again, device=device) == first
    assert again.ran == []
    fresh = Runner(kvm=85, tcg=85)
    assert probe_accelerators(cache, runner=fresh, device=device, reprobe=True).best == "kvm"
    assert fresh.ran == ["kvm", "tcg"]


def test_a_change_of_the_device_or_a_broken_cache_file_means_a_new_probe(cache: Path, device: Path) -> None:
    probe_accelerators(cache, runner=Runner(kvm=85, tcg=85), device=device)
    device.unlink()
    assert probe_accelerators(cache, runner=Runner(tcg=85), device=device).best == "tcg"
    (cache / "accelerators.json").write_text("[1, 2")
    runner = Runner(tcg=85)
    assert probe_accelerators(cache, runner=runner, device=device).best == "tcg"
    assert runner.ran == ["tcg"]


def test_results_of_another_version_of_the_probe_are_ignored(cache: Path, device: Path) -> None:
    """A probe of an older lab called a KVM usable that hangs with every kernel."""
    probe_accelerators(cache, runner=Runner(kvm=85, tcg=85), device=device)
    file = cache / "accelerators.json"
    saved = json.loads(file.read_text())
    assert hashlib.sha256(probe_rom()).hexdigest()[:16] in saved["key"]
    saved["key"] = saved["key"].replace(hashlib.sha256(probe_rom()).hexdigest()[:16], "0" * 16)
    file.write_text(json.dumps(saved))
    assert probe_accelerators(cache, runner=Runner(kvm=HANGS, tcg=85), device=device).best == "tcg"


SOURCE = Path(probe_rom.__code__.co_filename).with_suffix(".S")


def test_the_bytes_of_the_guest_were_assembled_from_its_present_source() -> None:
    assert hashlib.sha256(SOURCE.read_bytes()).hexdigest() == SOURCE_SHA256, "see lab/host/probe_rom.py"


def test_the_guest_does_what_its_source_does(tmp_path: Path) -> None:
    """Not the same bytes: each version of an assembler encodes some instructions, and fills gaps, in its own way."""
    tools = "x86_64-w64-mingw32-"
    run([f"{tools}as", "-o", tmp_path / "rom.o", SOURCE], 30)
    run([f"{tools}ld", "--image-base", "0", "-Ttext", "0", "-o", tmp_path / "rom.exe", tmp_path / "rom.o"], 30)
    run([f"{tools}objcopy", "-O", "binary", "-j", ".text", tmp_path / "rom.exe", tmp_path / "rom.bin"], 30)
    built = (tmp_path / "rom.bin").read_bytes()
    assert len(built) < 1 << 12
    finished = MAGIC << 1 | 1
    assert _run(probe_rom(built), tmp_path, 60).exit_code == finished
    assert _run(probe_rom(), tmp_path, 60).exit_code == finished


def test_the_guest_is_a_bios_image_with_a_jump_at_its_reset_vector() -> None:
    rom = probe_rom()
    assert len(rom) == 1 << 16
    assert rom[0xFFF0:0xFFF5] == bytes.fromhex("ea000000f0")


def test_tcg_really_runs_the_guest(cache: Path, tmp_path: Path) -> None:
    found = probe_accelerators(cache, device=tmp_path / "absent")
    assert found.tcg.usable, found.tcg.reason


def _halt_at(instruction: str) -> Callable[[bytes], bytes]:
    def damage(rom: bytes) -> bytes:
        at = rom.index(bytes.fromhex(instruction))
        return rom[:at] + b"\xf4" + rom[at + 1 :]

    return damage


def _run(rom: bytes, folder: Path, timeout: float = 2) -> Finished:
    file = folder / "rom"
    file.write_bytes(rom)
    argv = [
        "qemu-system-x86_64",
        "-nodefaults",
        "-display",
        "none",
        "-machine",
        "pc",
        "-accel",
        "tcg",
        "-m",
        "16",
        "-no-reboot",
    ]
    return run_quick([*argv, "-bios", str(file), "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"], timeout)


@pytest.mark.parametrize(
    "damage",
    [_halt_at("0f00d8"), _halt_at("0f0b"), _halt_at("48cf")],
    ids=["halts in 64-bit mode", "halts before the exception", "halts at the return from it"],
)
def test_a_guest_that_stops_early_is_noticed(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """The exit code proves that the last instruction ran, not only that QEMU started."""
    with pytest.raises(HostToolError, match="did not end"):
        _run(damage(probe_rom()), tmp_path)


def test_a_guest_that_goes_wrong_in_user_mode_is_noticed(tmp_path: Path) -> None:
    """User mode may not halt: the guest faults, has no handler for that, and shuts down."""
    assert _run(_halt_at("cd30")(probe_rom()), tmp_path).exit_code == 0
