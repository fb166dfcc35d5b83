"""Instructions that only a kernel may execute, in the drivers of a run and elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.host.process import run
from lab.toolchain.privileged import is_privileged, may_be_privileged

SOURCE = """
__attribute__((section(".text$a"), naked)) void Before(void) { __asm__(".fill 0x40, 1, 0x90"); }
__attribute__((section(".text$b"), naked)) void Port(void) { __asm__("inb %dx, %al\\n ret"); }
__attribute__((section(".text$c"), naked)) void Plain(void) { __asm__("addl %eax, %ecx\\n ret"); }
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A driver with an `in` at 0x1050 and nothing else of the kind."""
    folder = tmp_path_factory.mktemp("privileged")
    (folder / "a.c").write_text(SOURCE, encoding="utf-8")
    gcc = ["x86_64-w64-mingw32-gcc", "-nostdlib", "-Wl,--subsystem,native", "-Wl,-e,Before", "-o", str(folder / "a.sys")]
    run([*gcc, str(folder / "a.c")], 60)
    return folder / "a.sys"


@pytest.mark.parametrize(
    ("address", "own"),
    [
        (0x7FFFF0A51050, True),
        (0x21050, True),
        (0x7FFFF0A51000, False),
        (0x7FFFF0A51052, False),
        (0x7FFFF0A5F050, False),
        (0, False),
    ],
)
def test_an_address_is_the_drivers_where_its_code_has_such_an_instruction(image: Path, address: int, own: bool) -> None:
    assert may_be_privileged(image, address) is own


def test_a_driver_that_cannot_be_read_is_not_accused(tmp_path: Path) -> None:
    assert may_be_privileged(tmp_path / "none.sys", 0x1000)


@pytest.mark.parametrize(
    ("code", "x64", "privileged"),
    [
        ("ec", True, True),  # in al, dx
        ("66 ed", True, True),  # in ax, dx
        ("f3 6c", False, True),  # rep insb
        ("fa", True, True),  # cli
        ("f4", False, True),  # hlt
        ("44 0f 20 c0", True, True),  # mov rax, cr8: KeGetCurrentIrql
        ("0f 32", True, True),  # rdmsr
        ("48 8b 01", True, False),  # mov rax, [rcx]
        ("40 ec", False, False),  # inc eax; in al, dx
        ("0f 1f 00", True, False),  # nop
        ("0f", True, False),
        ("66", True, False),
        ("", True, False),
    ],
)
def test_which_instructions_they_are(code: str, x64: bool, privileged: bool) -> None:
    assert is_privileged(bytes.fromhex(code), x64=x64) is privileged
