"""The lab file and the layers above it: which layer has priority, and errors with their place."""

from __future__ import annotations

import datetime
import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from lab.config import Settings, load_settings
from lab.config.model import LabFile
from lab.config.schema import lab_schema
from lab.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def load(tmp_path: Path, text: str = "", *, environ: dict[str, str] | None = None, **options: Any) -> Settings:
    if text:
        (tmp_path / "lab.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
    return load_settings(options, environ=environ or {}, cwd=tmp_path)


def error(tmp_path: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return caught.value


def test_defaults_need_no_file(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.file is None
    assert settings.values == LabFile()
    assert set(settings.sources.values()) == {"default"}


def test_every_key(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """\
        image: windows-server-2022
        transport: ssh
        files: sftp
        workers: 3
        drivers: [mine/driver.yaml, /abs/x.sys]
        suites: [suites/sync/test_a.py::test_b]
        out: results
        baselines: kept
        boot_timeout: 900
        client_timeout: 30
        accelerator: kvm
        debug: kd
        boot: cold
        clock: virtual
        isolation: module
        keep: failed
        crash_dump: always
        log_level: debug
        coverage: lines
        coverage_fail_under: 80
        kernel_prints: ['err:']
        verifier: harsh
        verifier_profiles:
          harsh: {checks: [standard, low_resources], probability: 50, pool_tags: [Sync]}
        known:
          - test: suites/async/*
            driver: async
            reason: being fixed
            until: 2027-01-31
        vm:
          memory: 2G
          disks: [{file: data.img}]
        """,
    )
    values = settings.values
    assert values.vm.memory == 2048
    assert values.vm.disks[0].file == str(tmp_path / "data.img")
    assert values.files == "sftp"
    assert values.workers == 3
    assert values.debug == "kd"
    assert values.clock == "virtual"
    assert values.drivers == (str(tmp_path / "mine/driver.yaml"), "/abs/x.sys")
    assert values.suites == (str(tmp_path / "suites/sync/test_a.py") + "::test_b",)
    assert values.out == str(tmp_path / "results")
    assert values.baselines == str(tmp_path / "kept")
    assert values.boot_timeout == 900
    assert values.client_timeout == 30
    assert values.crash_dump == "always"
    assert (values.coverage, values.coverage_fail_under) == ("lines", 80)
    assert values.known[0].until == datetime.date(2027, 1, 31)
    assert (values.verifier, values.verifier_profiles["harsh"].probability) == ("harsh", 50)
    assert set(settings.sources.values()) == {"lab file"}


def test_option_over_environment_over_file(tmp_path: Path) -> None:
    text = "transport: ssh\nworkers: 1\nkeep: always\n"
    settings = load(tmp_path, text, environ={"LAB_WORKERS": "2", "LAB_TRANSPORT": "winrm"}, workers="3")
    assert settings.values.workers == 3
    assert settings.values.transport == "winrm"
    assert settings.values.keep == "always"
    assert settings.sources["workers"] == "option"
    assert settings.sources["transport"] == "environment"
    assert settings.sources["keep"] == "lab file"
    assert settings.sources["image"] == "default"


def test_options_that_were_not_given_do_not_count(tmp_path: Path) -> None:
    settings = load(tmp_path, "workers: 2\ndrivers: [a.sys]\n", workers=None, drivers=())
    assert settings.values.workers == 2
    assert settings.sources["drivers"] == "lab file"


def test_paths_start_where_they_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "sub"
    folder.mkdir()
    (folder / "my.yaml").write_text("drivers: [d1]\nout: o\nimage: ./img\n", encoding="utf-8")
    settings = load_settings({}, config=Path("sub/my.yaml"), environ={"LAB_SUITES": "s1:s2"}, cwd=tmp_path)
    assert settings.values.drivers == (str(folder / "d1"),)
    assert settings.values.out == str(folder / "o")
    assert settings.values.image == str(folder / "img")
    assert settings.values.suites == (str(tmp_path / "s1"), str(tmp_path / "s2"))


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("workers: 5\n", encoding="utf-8")
    assert load(tmp_path, "workers: 4\n", environ={"LAB_CONFIG": "other.yaml"}).values.workers == 5


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: there is no such file"):
        load_settings({}, config=Path("nowhere.yaml"), environ={}, cwd=tmp_path)


def test_an_unknown_key_names_line_and_neighbour(tmp_path: Path) -> None:
    found = error(tmp_path, "# comment\nimage: wine\nworker: 2\n")
    assert found.file == str(tmp_path / "lab.yaml")
    assert (found.key, found.line) == ("worker", 3)
    assert found.hint == "did you mean workers?"
    assert "lab.yaml:3: worker: there is no such key" in str(found)


def test_an_unknown_key_without_neighbour_lists_all(tmp_path: Path) -> None:
    assert "transport" in error(tmp_path, "zzz: 1\n").hint


def test_an_unknown_inner_key(tmp_path: Path) -> None:
    found = error(tmp_path, "known:\n  - test: a\n    reason: b\n    until: 2027-01-01\n    drivers: x\n")
    assert (found.key, found.line) == ("known.0.drivers", 5)
    assert found.hint == "did you mean driver?"


def test_a_missing_inner_key(tmp_path: Path) -> None:
    found = error(tmp_path, "image: wine\nknown:\n  - test: a\n")
    assert (found.key, found.line) == ("known.0", 3)
    assert "reason is missing and until is missing" in found.message


@pytest.mark.parametrize(
    ("text", "key", "line", "said"),
    [
        ("\nworkers: many\n", "workers", 2, "'auto'"),
        ("workers: 0\n", "workers", 1, "must be auto or a number, at least 1"),
        ("boot_timeout: -3\n", "boot_timeout", 1, "greater than 0"),
        ("transport: telnet\n", "transport", 1, "must be 'winrm' or 'ssh', not 'telnet'"),
        ("suites: []\n", "suites", 1, "at least 1 item"),
        ("drivers:\n  - a\n  - 7\n", "drivers.1", 3, "valid string, not 7"),
        ("image:\n", "image", 1, "valid string, not None"),
        ("known:\n - test: a\n   reason: b\n   until: soon\n", "known.0.until", 4, "date"),
    ],
)
def test_a_wrong_value_names_its_line(tmp_path: Path, text: str, key: str, line: int, said: str) -> None:
    found = error(tmp_path, text)
    assert (found.key, found.line) == (key, line)
    assert said in found.message


def test_all_wrong_keys_are_reported_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = error(tmp_path, "workers: many\nimage: wine\nkeep: maybe\nsuite: x\n")
    assert found.line == 1
    assert "lab.yaml:3: keep: must be" in found.message
    assert "lab.yaml:4: suite: there is no such key" in found.message


def test_a_key_twice_is_refused(tmp_path: Path) -> None:
    found = error(tmp_path, "workers: 1\nimage: wine\nworkers: 2\n")
    assert (found.key, found.line) == ("workers", 3)
    assert "the first one is in line 1" in found.message


def test_an_inner_key_twice_is_refused(tmp_path: Path) -> None:
    found = error(tmp_path, "known:\n- {test: a, reason: b,\n   reason: c, until: 2027-01-01}\n")
    assert (found.key, found.line) == ("known.0.reason", 3)


@pytest.mark.parametrize(
    ("text", "line"), [("a: [1\nb: 2\n", 2), ("image: wine\n\tworkers: 2\n", 2), ("- a\n", 1), ("just words\n", 1)]
)
def test_a_value_that_is_not_a_mapping_is_refused(tmp_path: Path, text: str, line: int) -> None:
    assert error(tmp_path, text).line == line


def test_an_alias_of_itself_is_refused(tmp_path: Path) -> None:
    found = error(tmp_path, "image: wine\nsuites: &all [*all]\n")
    assert (found.key, found.line) == ("suites.0", 2)


def test_an_empty_file_is_fine(tmp_path: Path) -> None:
    assert load(tmp_path, "# nothing yet\n").values == LabFile()


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"environment variable LAB_TRANSPORT must be 'winrm' or 'ssh', not 'telnet'"):
        load(tmp_path, environ={"LAB_TRANSPORT": "telnet"})


def test_a_wrong_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--workers must be a valid integer.* or 'auto', not 'many'"):
        load(tmp_path, workers="many")
    with pytest.raises(ConfigError, match=r"--boot-timeout must be greater than 0"):
        load(tmp_path, boot_timeout="-1")


def test_the_schema_beside_the_documentation_is_current() -> None:
    text = (ROOT / "docs" / "lab.schema.json").read_text(encoding="utf-8")
    assert text == lab_schema(), "run: python -m lab.config.schema > docs/lab.schema.json"


def test_every_key_has_a_description() -> None:
    schema = json.loads(lab_schema())
    properties = {**schema["properties"], **schema["$defs"]["KnownIssue"]["properties"]}
    assert [name for name, value in properties.items() if not value.get("description")] == []


def test_a_date_that_does_not_exist_is_reported_with_its_line(tmp_path: Path) -> None:
    caught = error(tmp_path, "suites: [a]\nknown:\n- test: x\n  reason: r\n  until: 2026-13-01\n")
    assert (caught.line, caught.key) == (5, "known.0.until")
    assert "month must be in 1..12" in str(caught)


@pytest.mark.parametrize(("key", "kind"), [("2026-13-01", "timestamp"), ("On", "bool"), ("010", "int")])
def test_a_key_that_yaml_does_not_read_as_text_is_refused_with_its_line(tmp_path: Path, key: str, kind: str) -> None:
    caught = error(tmp_path, f"suites: [a]\n{key}: x\n")
    assert (caught.line, caught.key, caught.hint) == (2, key, f"quote it: '{key}'")
    assert f"YAML reads {kind}" in caught.message


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("'(unclosed'", "kernel_prints.1: is not a regular expression (missing ), unterminated subpattern at position 0)"),
        ("'.*'", "kernel_prints.1: matches every text, also an empty one"),
        ("17", "kernel_prints.1: must be a valid string"),
    ],
)
def test_an_invalid_pattern_of_the_kernels_prints_names_its_line(tmp_path: Path, pattern: str, said: str) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(f"image: wine\nkernel_prints:\n  - 'err:'\n  - {pattern}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings({}, config=file, environ={}, cwd=tmp_path)
    assert f"lab.yaml:4: {said}" in str(caught.value)


def test_patterns_of_the_kernels_prints_are_set_only_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("kernel_prints: ['err:']\n", encoding="utf-8")
    settings = load_settings({}, config=file, environ={"LAB_KERNEL_PRINTS": "("}, cwd=tmp_path)
    assert settings.values.kernel_prints == ("err:",)
