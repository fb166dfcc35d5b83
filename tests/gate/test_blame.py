"""Whose mistake an exception is: real tracebacks through a suite (this file), the lab and libraries."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import CommandFailed, GuestHung, LabError, ServiceError, TransportError
from lab.gate.blame import blame, cause_of, hang_of, is_of_the_suite, judges_the_driver, never_the_driver, place
from lab.gate.verdict import Facts, PhaseFact, decide
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
    """Calls back, as code of the lab does that takes a function of the suite's."""
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
    monkeypatch.setattr("lab.guest.probe._operation", None)
    monkeypatch.setattr("lab.guest.probe.TransportError", TypeError)
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


def test_pytests_own_complaints_are_the_tests(request: pytest.FixtureRequest) -> None:
    for act in (lambda: tmp_path_twice(), lambda: request.getfixturevalue("no_such_fixture"), lambda: pytest.raises(3)):  # type: ignore[call-overload]
        assert verdict(caught(act)) == "test", act


@pytest.fixture
def tmp_path_twice() -> int:
    return 1


def test_what_a_full_host_does_to_a_test_is_no_mistake_of_it() -> None:
    def full() -> None:
        with Path("/dev/full").open("w", encoding="utf-8") as file:
            file.write("x" * 100_000)

    error = caught(full)
    assert blame(error) == "host"
    decision = decide(Facts(phases=[PhaseFact(when="setup", outcome="failed", error=error)]))
    assert decision.verdict == "infra"
    assert "this machine has no room left: OSError: [Errno 28] No space left on device" in decision.reason


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


def test_of_a_group_the_gravest_decides_and_all_are_told() -> None:
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


def test_the_place_of_a_mistake_stands_in_the_reason() -> None:
    phase = PhaseFact(when="call", outcome="failed", error=caught(missing_name))
    assert f"(test_blame.py:{missing_name.__code__.co_firstlineno + 1})" in decide(Facts(phases=[phase])).reason


def timeout_plugin() -> Callable[[], object]:
    """Something that fails a test from where pytest-timeout does."""
    namespace: dict[str, Callable[[], object]] = {"pytest": pytest}  # type: ignore[dict-item]
    code = "def timer():\n    pytest.fail('Timeout (>1.0s) from pytest-timeout.')\n"
    exec(compile(code, "/venv/site-packages/pytest_timeout.py", "exec"), namespace)
    return namespace["timer"]


def test_a_timeout_of_pytest_timeout_is_a_hang_only_where_the_guest_was_waited_for() -> None:
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


def test_lab_errors_are_not_asked_about() -> None:
    assert verdict(LabError("something else")) == "infra"
