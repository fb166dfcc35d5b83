"""How a migration stream describes its own content. Real VMs are tried in tests/live/test_hardware.py."""

import json

import pytest

from lab.errors import SnapshotFailed
from lab.vm.trial import sections_of

DEVICES = [{"name": "timer"}, {"name": "0000:00:04.0/e1000e"}]
#: QEMU 7.2 writes the size of a page first, 10.0 and 11.1 the configuration of the VM.
QEMU_7 = {"page_size": 4096, "devices": DEVICES}
QEMU_10 = {"configuration": {"vmsd_name": "configuration", "version": 1}, "page_size": 4096, "devices": DEVICES}


def stream(described: bytes) -> bytes:
    return b"QEVM\0\0\0\3" + b'{"page_size": 1}\6' * 3 + b"\0\6" + len(described).to_bytes(4, "big") + described


@pytest.mark.parametrize("description", [QEMU_7, QEMU_10])
def test_a_description_is_found_by_its_length_whatever_it_begins_with(description: object) -> None:
    assert sections_of(stream(json.dumps(description).encode())) == ["timer", "0000:00:04.0/e1000e"]


def test_a_length_may_have_the_byte_that_begins_a_description() -> None:
    text = json.dumps(QEMU_10).encode()
    text += b" " * (0x0606 - len(text))
    assert sections_of(stream(text)) == ["timer", "0000:00:04.0/e1000e"]


@pytest.mark.parametrize("described", [b"", b"{}", b'{"devices": 3}', b'{"devices": [{"nam'])
def test_a_stream_without_a_description_is_an_error(described: bytes) -> None:
    with pytest.raises(SnapshotFailed, match="no description"):
        sections_of(stream(described))
    with pytest.raises(SnapshotFailed, match="no description"):
        sections_of(stream(json.dumps(QEMU_7).encode())[:-9])
