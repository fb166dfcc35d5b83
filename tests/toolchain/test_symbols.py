"""A driver's functions at the address where it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.toolchain.select import resolve_drivers
from lab.toolchain.symbols import find_function, loaded_symbols

SOURCE = """
#include <ntddk.h>

static NTSTATUS Blinken(PDEVICE_OBJECT device, PIRP irp)
{
    irp->IoStatus.Status = device ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    (void)path;
    driver->MajorFunction[IRP_MJ_READ] = Blinken;
    return STATUS_SUCCESS;
}
"""


def test_functions_are_found_at_the_load_address(tmp_path: Path) -> None:
    (tmp_path / "lamp.c").write_text(SOURCE, encoding="utf-8")
    manifest = "name: lamp\nimage: lamp.sys\nservice: Lamp\nsources: [lamp.c]\n"
    (tmp_path / "driver.yaml").write_text(manifest, encoding="utf-8")
    [package] = resolve_drivers([tmp_path], into=tmp_path / "copies", project=tmp_path)
    low, high = loaded_symbols(package, 0x7FFF00000000), loaded_symbols(package, 0x7FFF00010000)
    assert find_function([high], "Blinken")[0] - find_function([low], "Blinken")[0] == 0x10000
    assert 0x7FFF00001000 <= find_function([low], "Blinken")[0] < 0x7FFF00010000
    with pytest.raises(ConfigError, match="no function Blinkn in lamp") as caught:
        find_function([low], "Blinkn")
    assert "known are Blinken" in caught.value.hint
