"""pytest-xdist: how many workers, what the controller sends them, and that they die with it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from lab.errors import LabError
from lab.host.lifetime import die_with
from lab.host.passed import said
from lab.plugin.choose_out import choose_out
from lab.plugin.keys import OUT, options_of
from lab.plugin.open_log import open_run_log
from lab.plugin.recorder import Recorder

_LOG = logging.getLogger(__name__)

if TYPE_CHECKING:
    from lab.plugin.units import Unit

_OUT = "lab_out"
_COMMAND = "lab_command"
_DESELECTED = "lab_deselected"
_REFUSAL = "lab_refusal"
_NO_GUEST = "lab_no_guest"
#: Variable of the environment, set by what starts pytest: the command to start in the place of the interpreter, for a worker.
WORKER_PYTHON = "LAB_WORKER_PYTHON"


def worker_input(config: pytest.Config) -> Mapping[str, Any] | None:
    """What the controller sent this worker; None in the controller and without xdist."""
    return getattr(config, "workerinput", None)


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is a worker of xdist."""
    return worker_input(config) is not None


def worker_name(config: pytest.Config) -> str:
    """``gw0``, …; ``master`` without xdist."""
    given = worker_input(config)
    return str(given["workerid"]) if given else "master"


def worker_count(config: pytest.Config) -> int:
    """How many workers the run has."""
    given = worker_input(config)
    return int(given["workercount"]) if given else 1


def out_of_controller(config: pytest.Config) -> Path:
    """The folder of the run, as the controller chose it."""
    given = worker_input(config) or {}
    return Path(given[_OUT])


def command_of_controller(config: pytest.Config) -> list[str]:
    """The command line that the user typed."""
    given = worker_input(config)
    return list(given[_COMMAND]) if given else list(sys.argv)


def die_with_parent() -> None:
    """Let the kernel kill this worker when the controller ends for any reason; its guest ends with it."""
    die_with(os.getppid())


def tell_controller(config: pytest.Config, recorder: Recorder) -> None:
    """At a worker's end: send the controller the facts that only the worker knows."""
    output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if output is not None:
        output[_DESELECTED], output[_NO_GUEST] = recorder.of_worker


def refuse_in_worker(config: pytest.Config, message: str) -> NoReturn:
    """End this worker because of something that the user wrote; the controller raises that as its own error."""
    config.workeroutput[_REFUSAL] = message  # type: ignore[attr-defined]
    raise pytest.exit.Exception(message, returncode=int(pytest.ExitCode.USAGE_ERROR))


class XdistHooks:
    """Hooks that exist only with pytest-xdist; registered if that is installed.

    Args:
        recorder: Of this process.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        # It is for this session alone, not for one that a test starts.
        self._python = os.environ.pop(WORKER_PYTHON, "")

    def pytest_testnodedown(self, node: Any) -> None:
        """Record what a worker sent at its end.

        Raises:
            pytest.UsageError: It ended because of something that the user wrote.
        """
        told = getattr(node, "workeroutput", None) or {}
        self._recorder.deselected_by_workers(int(told.get(_DESELECTED, 0)))
        reason, by = told.get(_NO_GUEST, ("", ""))
        if reason:
            self._recorder.no_guest(reason, by)
        if refusal := told.get(_REFUSAL):
            raise pytest.UsageError(refusal)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """No more workers than the host can run guests, or than there is work for: in runs whose folder is named.

        Workers are started by :data:`WORKER_PYTHON` where that is set.

        It runs before pytest-xdist reads its list of workers for the first time: later, parts of it have already counted them.
        """
        config = session.config
        workers = config.getoption("tx", None) or []
        dist = config.getoption("dist", "no")
        if is_worker(config) or set(workers) != {"popen"}:
            return
        if config.getoption("lab_out") and dist != "each":
            from lab.plugin.units import work_for

            wanted = min(len(workers), _carried(config) or len(workers))
            known = config.getoption("lab_units", 0)
            workers = workers[: min(wanted, known or work_for(config, wanted, _unit(config, dist)))]
        config.option.tx = [f"popen//python={self._python}"] * len(workers) if self._python else workers

    def pytest_configure_node(self, node: Any) -> None:
        """Send a new worker the folder of the run."""
        config: pytest.Config = node.config
        if OUT not in config.stash:
            config.stash[OUT] = choose_out(options_of(config))
            open_run_log(config, config.stash[OUT], "controller")
        node.workerinput[_OUT] = str(config.stash[OUT])
        node.workerinput[_COMMAND] = list(sys.argv)

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """With ``--dist loadscope``: hand out exactly the tests that share a fork in one piece."""
        options = options_of(config)
        alone = options.boot == "fork" and options.isolation in ("test", "class")
        if not alone or config.getoption("dist", "no") != "loadscope":
            return None
        from lab.plugin.schedule import make_scheduler

        last_run = options.out_root / "latest"
        return make_scheduler(config, log, classes=options.isolation == "class", last_run=last_run)


def auto_workers(config: pytest.Config) -> int | None:
    """As many workers as this host can keep busy with guests; None, for pytest-xdist's own rule, where no image is known."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None  # pytest-xdist's own variable takes precedence
    return _carried(config, at_full_speed=True)


def _unit(config: pytest.Config, dist: str) -> Unit:
    """What goes to a worker in one piece; see :meth:`XdistHooks.pytest_xdist_make_scheduler`."""
    options = options_of(config)
    if dist == "loadscope":
        return "test" if options.boot == "fork" and options.isolation == "test" else "class"
    return "file" if dist == "loadfile" else "test"


def _carried(config: pytest.Config, *, at_full_speed: bool = False) -> int | None:
    """How many guests of the run's image this host can run; None where no image is known.

    Args:
        config: Its configuration.
        at_full_speed: No more than find a core whenever they run.
    """
    from lab.host.capacity import measure
    from lab.image.store import find_image
    from lab.live.print_wiring import can_resume
    from lab.live.resolve import booted_manifest, clock_of

    options = options_of(config)
    try:
        manifest = booted_manifest(find_image(options.image), options.debug, options.vm)
        if options.vm.writes:
            return 1
        size, smp = manifest.machine.memory_mb, manifest.machine.smp
        if options.boot != "fork" or not can_resume(manifest):
            return measure().guests(size, smp=smp)
        virtual = at_full_speed and clock_of(manifest, options) == "virtual"
        return measure().forks(size, smp=smp, virtual_clock=virtual)
    except LabError as error:
        _LOG.info("cannot find out how many guests this host can run: %s", said(error))
        return None
