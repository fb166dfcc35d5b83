"""Whose mistake an exception is: real tracebacks through a suite (this file), the lab and libraries."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import CommandFailed, GuestHung, LabError, ServiceError, TransportError, WrongBinary
from lab.gate.blame import blame, cause_of, hang_of, is_of_the_suite, judges_the_driver, never_the_driver, place
from lab.gate.facts import Facts, PhaseFact
from lab.gate.verdict import decide
from lab.guest.files import put
from lab.guest.probe import parse_output
from lab.guest.probescript import ProbeScript, split_operations
from lab.guest.quoting import join_arguments
from lab.prints.stream import PrintMismatch


def caught(act: Callable[[], object]) -> Exception:
    """The exception of an act, with its traceback."""
    try:
        act()
    except Exception as error:
        return error
    except pytest.fail.Exception as error:  # a BaseException
        return error  # type: ignore[return-value]
    raise LookupError("nothing was raised")


def verdict(error: BaseException, *, xfail: str | None = None) -> str:
    """The verdict of a test whose call ends with this exception."""
    phase = PhaseFact(when="call", outcome="failed" if xfail is None else "skipped", error=error)
    return decide(Facts(phases=[phase], xfail_reason=xfail)).verdict


def missing_name() -> None:
    sys.modules[__name__].no_such_name  # noqa: B018


def wrong_keyword() -> None:
    ProbeScript().read("h", lenght=20)  # type: ignore[call-arg]


def wrong_type() -> None:
    split_operations(17)  # type: ignore[arg-type]


def wrong_type_of_one_of_many() -> None:
    join_arguments(["drvprobe.exe", 17])  # type: ignore[list-item]


def wrong_type_to_a_dataclass() -> None:
    ProbeScript().text(17)  # type: ignore[arg-type]


def library() -> None:
    json.loads("{")


def relay(act: Callable[[], object]) -> object:
    """Calls the suite back, as code of the lab does with a function of the suite."""
    return act()


@pytest.mark.parametrize(
    "act", [missing_name, wrong_keyword, wrong_type, wrong_type_of_one_of_many, wrong_type_to_a_dataclass, library]
)
def test_a_mistake_of_the_suite_is_the_tests_own(act: Callable[[], object]) -> None:
    error = caught(act)
    assert blame(error) == "test"
    assert verdict(error) == "test"
    assert place(error).startswith("test_blame.py:")
    assert is_of_the_suite(error)


def test_an_error_inside_of_the_lab_with_right_arguments_is_the_labs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.guest.proberecords._operation", None)
    monkeypatch.setattr("lab.guest.proberecords.TransportError", TypeError)
    error = caught(lambda: parse_output(b"{}\n"))
    assert blame(error) == "lab"
    decision = decide(Facts(phases=[PhaseFact(when="call", outcome="failed", error=error)]))
    assert decision.verdict == "infra"
    assert decision.reason.startswith("the lab itself failed: TypeError")


def test_an_assertion_of_the_labs_own_accuses_no_driver(tmp_path: Path) -> None:
    file = Path(sys.modules["lab"].__file__ or "").parent / "guest" / "invented.py"
    namespace: dict[str, Callable[[], object]] = {}
    exec(compile("def check():\n    assert 1 == 2\n", str(file), "exec"), namespace)
    error = caught(namespace["check"])
    assert not judges_the_driver(error)
    assert verdict(error) == "infra"


def in_the_lab(code: str, **names: object) -> dict[str, Callable[..., object]]:
    """The functions of an invented module of the lab."""
    file = Path(sys.modules["lab"].__file__ or "").parent / "guest" / "invented.py"
    namespace: dict[str, Callable[..., object]] = dict(names)  # type: ignore[arg-type]
    exec(compile(code, str(file), "exec"), namespace)
    return namespace


def test_an_assertion_of_a_library_that_the_lab_has_called_accuses_no_driver() -> None:
    library: dict[str, Callable[[], object]] = {}
    exec(compile("def parse():\n    assert 1 == 2\n", "/venv/site-packages/parser.py", "exec"), library)
    below = in_the_lab("def read():\n    parse()\n", parse=library["parse"])["read"]
    assert not judges_the_driver(caught(below))
    assert verdict(caught(below)) == "infra"
    assert verdict(caught(library["parse"])) == "product", "a helper of the suite's that comes as a package"


@pytest.mark.parametrize("of_a_driver", [ServiceError("sc create sync", 577), CommandFailed("labfile sum", 3)])
@pytest.mark.parametrize("chosen", [WrongBinary("the guest has other files"), TransportError("no medium"), LabError("x")])
def test_the_class_of_a_lab_error_counts_more_than_its_cause(chosen: LabError, of_a_driver: LabError) -> None:
    def act() -> None:
        raise chosen from of_a_driver

    error = caught(act)
    assert cause_of(error) is error
    assert verdict(error) == "infra"
    assert verdict(error, xfail="not yet") == "infra"
    assert decide(Facts(phases=[PhaseFact(when="setup", outcome="failed", error=error)])).verdict == "infra"


class Odd:
    """An object that looks like a transport, and cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError("which of my parts?")

    __hash__ = None  # type: ignore[assignment]


def test_an_argument_that_cannot_be_checked_ends_no_run() -> None:
    def path_as_text() -> None:
        put(Odd(), "C:/kettle.sys", "C:/x", timeout=1.0)  # type: ignore[arg-type]

    assert blame(caught(path_as_text)) == "test", "the source is no Path, whatever the transport is"
    unchecked = in_the_lab("def go(transport: Transport, odd: int = 3):\n    {}['x']\n", Transport=Callable)
    assert blame(caught(lambda: unchecked["go"](Odd(), Odd()))) == "test"
    unknown = in_the_lab("def go(transport: 'nowhere.Transport' = 1):\n    {}['x']\n", nowhere=object())
    assert blame(caught(lambda: unknown["go"](Odd()))) == "lab"
    broken = in_the_lab("def go(transport: '1 / 0' = 1):\n    {}['x']\n")
    assert blame(caught(lambda: broken["go"](Odd()))) == "lab"


RUN_BY_A_LINK = """
import lab.gate.blame, lab.guest.probe
assert lab.__file__.startswith(LINK), lab.__file__
lab.guest.proberecords._operation = None
lab.guest.proberecords.TransportError = TypeError
try:
    lab.guest.probe.parse_output(b"{}\\n")
except TypeError as error:
    print(lab.gate.blame.blame(error))
"""


def test_a_lab_that_was_imported_through_a_link_is_still_the_lab(tmp_path: Path) -> None:
    (tmp_path / "lab").symlink_to(Path(sys.modules["lab"].__file__ or "").resolve().parent)
    code = RUN_BY_A_LINK.replace("LINK", repr(str(tmp_path)))
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, text=True, capture_output=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("lab\n", "")


def test_assertions_about_the_driver_are_product() -> None:
    def wrong() -> None:
        assert len("slot") == 5

    def silent() -> None:
        with pytest.raises(ServiceError):
            pass

    def unwarned() -> None:
        with pytest.warns(UserWarning, match="x"):
            pass

    for act in (wrong, silent, unwarned, lambda: pytest.fail("no such print")):
        assert verdict(caught(act)) == "product", act
    assert verdict(PrintMismatch("kernel print 2 is …")) == "product"


def test_errors_of_pytest_itself_are_the_tests_mistake(request: pytest.FixtureRequest) -> None:
    for act in (lambda: tmp_path_twice(), lambda: request.getfixturevalue("no_such_fixture"), lambda: pytest.raises(3)):  # type: ignore[call-overload]
        assert verdict(caught(act)) == "test", act


@pytest.fixture
def tmp_path_twice() -> int:
    return 1


def test_an_error_of_a_full_host_is_not_the_tests_mistake() -> None:
    def full() -> None:
        with Path("/dev/full").open("w", encoding="utf-8") as file:
            file.write("x" * 100_000)

    error = caught(full)
    assert blame(error) == "host"
    decision = decide(Facts(phases=[PhaseFact(when="setup", outcome="failed", error=error)]))
    assert decision.verdict == "infra"
    assert "the host has no space left: OSError: [Errno 28] No space left on device" in decision.reason


def test_an_error_that_was_raised_from_another_is_judged_as_that_one() -> None:
    def wrap(cause: BaseException) -> BaseException:
        def act() -> None:
            raise RuntimeError("cannot prepare the device") from cause

        return caught(act)

    def handle() -> None:
        try:
            raise ServiceError("sc start sync", 577)
        except ServiceError as error:
            error.code  # type: ignore[attr-defined]  # noqa: B018

    assert isinstance(cause_of(wrap(TransportError("reset"))), TransportError)
    assert verdict(wrap(TransportError("reset"))) == "infra"
    assert verdict(wrap(ServiceError("sc start sync", 577))) == "product"
    assert verdict(wrap(KeyError("x"))) == "test"
    assert verdict(caught(handle)) == "test", "the refusal was expected; what handles it is wrong"


def test_the_gravest_of_a_group_decides_and_all_are_reported() -> None:
    group = ExceptionGroup("errors while tearing down", [caught(missing_name), TransportError("reset")])
    phase = PhaseFact(when="teardown", outcome="failed", error=group)
    decision = decide(Facts(phases=[phase]))
    assert decision.verdict == "test"
    assert "no_such_name" in decision.reason
    assert "reset" in decision.reason


def test_a_command_of_a_suites_fixture_is_the_suites_and_one_of_the_labs_the_labs() -> None:
    def check() -> None:
        raise CommandFailed("reg add", 1)

    def phase(error: BaseException) -> Facts:
        return Facts(phases=[PhaseFact(when="setup", outcome="failed", error=error)])

    assert decide(phase(caught(check))).verdict == "product"
    assert decide(phase(CommandFailed("sc create", 1))).verdict == "infra"


@pytest.mark.parametrize("act", [missing_name, lambda: __import__("no_such_module"), lambda: pytest.raises(3)])  # type: ignore[call-overload]
def test_xfail_excuses_what_an_answer_can_do_to_a_test_and_nothing_else(act: Callable[[], object]) -> None:
    assert verdict(caught(lambda: [][0]), xfail="returns nothing yet") == "known"
    error = caught(act)
    assert verdict(error, xfail="returns nothing yet") == ("test" if never_the_driver(error) else "known")
    assert verdict(caught(lambda: __import__("no_such_module")), xfail="x") == "test"
    assert verdict(OSError(28, "No space left on device"), xfail="x") == "infra"


def test_the_reason_contains_the_place_of_a_mistake() -> None:
    phase = PhaseFact(when="call", outcome="failed", error=caught(missing_name))
    assert f"(test_blame.py:{missing_name.__code__.co_firstlineno + 1})" in decide(Facts(phases=[phase])).reason


def timeout_plugin() -> Callable[[], object]:
    """A plugin that fails a test from the same file as pytest-timeout."""
    namespace: dict[str, Callable[[], object]] = {"pytest": pytest}  # type: ignore[dict-item]
    code = "def timer():\n    pytest.fail('Timeout (>1.0s) from pytest-timeout.')\n"
    exec(compile(code, "/venv/site-packages/pytest_timeout.py", "exec"), namespace)
    return namespace["timer"]


def test_a_timeout_of_pytest_timeout_is_a_hang_only_while_waiting_for_the_guest() -> None:
    timer = timeout_plugin()
    own = caught(timer)
    assert hang_of(own) is None
    assert verdict(own) == "test", "the test's own code did not end: nobody knows why"
    file = Path(sys.modules["lab"].__file__ or "").parent / "guest" / "invented.py"
    namespace: dict[str, object] = {"timer": timer}
    exec(compile("def wait():\n    timer()\n", str(file), "exec"), namespace)
    waiting = namespace["wait"]
    assert isinstance(waiting, types.FunctionType)
    hang = hang_of(caught(waiting))
    assert isinstance(hang, GuestHung)
    assert "Timeout (>1.0s)" in hang.message


def test_a_callback_of_the_suite_that_fails_is_the_suites() -> None:
    file = Path(sys.modules["lab"].__file__ or "").parent / "guest" / "invented.py"
    namespace: dict[str, Callable[..., object]] = {}
    exec(compile("def relay(act):\n    return act()\n", str(file), "exec"), namespace)
    assert blame(caught(lambda: namespace["relay"](missing_name))) == "test"


def test_lab_errors_need_no_decision() -> None:
    assert verdict(LabError("something else")) == "infra"


def test_an_assertion_raised_from_a_missing_answer_accuses_no_driver() -> None:
    def act() -> None:
        try:
            raise TransportError("no answer")
        except TransportError as error:
            raise AssertionError("the client said nothing") from error

    assert verdict(caught(act)) == "infra"


def test_a_wrong_argument_is_found_among_frozen_objects() -> None:
    frozen = gc.get_freeze_count()  # in a whole run, what was collected: see tests/conftest.py
    gc.freeze()
    try:
        assert blame(caught(wrong_type)) == "test"
        assert gc.get_freeze_count() >= frozen
    finally:
        if not frozen:
            gc.unfreeze()
