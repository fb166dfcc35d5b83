from __future__ import annotations

from typing import Any

import pytest

from lab.errors import HostToolError
from lab.host.qemu import features_of, probe_features


def command(name: str, arguments: str) -> dict[str, Any]:
    return {"name": name, "meta-type": "command", "arg-type": arguments, "ret-type": "0"}


def record(name: str, **members: str) -> dict[str, Any]:
    entries = [{"name": member, "type": kind} for member, kind in members.items()]
    return {"name": name, "meta-type": "object", "members": entries}


def enum(name: str, *values: str) -> dict[str, Any]:
    return {"name": name, "meta-type": "enum", "values": list(values)}


#: Types carry numbers instead of names in QEMU's answer.
NEW = [
    command("migrate-set-capabilities", "1"),
    record("1", capabilities="[2]"),
    {"name": "[2]", "meta-type": "array", "element-type": "2"},
    record("2", capability="3", state="bool"),
    enum("3", "xbzrle", "x-ignore-shared", "mapped-ram"),
    command("migrate", "10"),
    record("10", uri="str", channels="[11]"),
    {"name": "[11]", "meta-type": "array", "element-type": "11"},
    record("11", addr="12"),
    {**record("12", transport="13"), "tag": "transport", "variants": [{"case": "file", "type": "14"}]},
    enum("13", "socket", "exec", "file"),
    record("14", filename="str"),
    command("object-add", "20"),
    {**record("20", id="str"), "tag": "qom-type", "variants": [{"case": "memory-backend-file", "type": "21"}]},
    record("21", **{"mem-path": "str", "readonly": "bool", "rom": "22"}),
    enum("22", "on", "off", "auto"),
    command("dump-guest-memory", "30"),
    record("30", paging="bool", format="31"),
    enum("31", "elf", "win-dmp"),
    command("blockdev-change-medium", "40"),
    record("40", id="str"),
    command("set-action", "50"),
    record("50", panic="51"),
    enum("51", "pause", "none"),
]


def test_everything_is_found_in_a_new_schema() -> None:
    features = features_of(NEW)
    assert features.x_ignore_shared
    assert features.mapped_ram
    assert features.file_migration
    assert not features.text_migration
    assert features.read_only_ram_file
    assert features.blockdev_change_medium
    assert features.panic_none
    assert features.dump_formats == ("elf", "win-dmp")


def test_nothing_is_found_in_an_empty_one() -> None:
    features = features_of([])
    assert not any((features.x_ignore_shared, features.mapped_ram, features.file_migration, features.read_only_ram_file))
    assert not features.text_migration
    assert features.dump_formats == ()


def test_addresses_as_plain_text_mean_an_old_qemu() -> None:
    features = features_of([command("migrate", "1"), record("1", uri="str", detach="bool")])
    assert features.text_migration
    assert not features.file_migration


def test_a_new_qemu_that_cannot_migrate_to_a_file_is_not_treated_as_old() -> None:
    schema = [entry for entry in NEW if entry["name"] != "13"] + [enum("13", "socket", "exec")]
    features = features_of(schema)
    assert not features.file_migration
    assert not features.text_migration


def test_the_qemu_of_this_host_answers() -> None:
    features = probe_features("qemu-system-x86_64")
    assert features.blockdev_change_medium
    assert "elf" in features.dump_formats


def test_something_that_is_not_qemu_is_named() -> None:
    with pytest.raises(HostToolError, match="true did not report the schema of its monitor"):
        probe_features("true")
