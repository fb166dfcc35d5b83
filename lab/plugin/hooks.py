"""pytest's hooks: they only call :mod:`lab.plugin.session`."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import lab
from lab.errors import ConfigError, LabError, NoDriver
from lab.gate.exitcode import NOTHING, OK
from lab.plugin import fixtures, hookspec, markers, options, repeat
from lab.plugin.again import Again
from lab.plugin.choose_out import choose_out, fresh_out, link_latest
from lab.plugin.finish import FinishAnyway
from lab.plugin.keys import OUT, SESSION, options_of
from lab.plugin.names import register_short_names, uses_guest
from lab.plugin.only import leave_out_others
from lab.plugin.open_log import close_run_log, mask_credentials, open_run_log
from lab.plugin.recorder import Recorder, mark_collection
from lab.plugin.repeat_cache import RepetitionsAreTests, choose_repetitions
from lab.plugin.terminal import Terminal, say
from lab.plugin.texts import SafeSender, clean_report, cleaned, showable
from lab.plugin.xdist_hooks import (
    XdistHooks,
    auto_workers,
    command_of_controller,
    die_with_parent,
    is_worker,
    out_of_controller,
    refuse_in_worker,
    tell_controller,
    worker_count,
    worker_name,
)

if TYPE_CHECKING:
    from lab.lease.protocol import GuestSource
    from lab.plugin.run_end import Finished

# Modules with many imports (transports, templates, compilers) are imported when a lab test was found: every
# pytest session of this environment loads this plugin, and most have none.
_FINISHED: pytest.StashKey[Finished] = pytest.StashKey()
_TERMINAL = "lab-terminal"
_FIXTURES = "lab-fixtures"
_RECORDER = pytest.StashKey[Recorder]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the plugin's own hooks, and its fixtures."""
    pluginmanager.add_hookspecs(hookspec)
    # The first hook that is called, and before pytest's capture.
    if not pluginmanager.hasplugin(_TERMINAL):
        pluginmanager.register(Terminal(), _TERMINAL)
    # As a plugin of their own: an import of lab.plugin.drivers makes the module the attribute `drivers` of lab.plugin.
    if not pluginmanager.hasplugin(_FIXTURES):
        pluginmanager.register(fixtures, _FIXTURES)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Choose the value of ``-n auto``.

    pytest-xdist asks before ``pytest_configure``, so a plugin registered there is too late.
    """
    return auto_workers(config)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; a worker ties its life to the controller's."""
    markers.register(config)
    register_short_names(config)
    recorder = config.stash[_RECORDER] = Recorder()
    config.pluginmanager.register(recorder, "lab-recorder")
    config.pluginmanager.register(Again(lambda config: config.stash.get(SESSION, None)), "lab-again")
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(XdistHooks(recorder), "lab-xdist")
    if not is_worker(config):
        config.pluginmanager.register(FinishAnyway(pytest_sessionfinish), "lab-finish-anyway")
        if config.getoption("lab_repeat", 1) > 1:
            config.pluginmanager.register(RepetitionsAreTests(config), "lab-repetitions-are-tests")
    else:
        config.pluginmanager.register(SafeSender(), "lab-safe-sender")
        die_with_parent()
        config.stash[OUT] = out_of_controller(config)
        with contextlib.suppress(pytest.UsageError):  # a session with lab tests ends with it
            open_run_log(config, config.stash[OUT], worker_name(config))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Repeat the tests if that is asked for, and find the lab's; those that need the host without other guests go last."""
    repeat.expand(items, config.getoption("lab_repeat", 1))
    choose_repetitions(config, items)
    wishes = {item.nodeid: markers.read_wishes(item) for item in items}
    users = frozenset(item.nodeid for item in items if uses_guest(item))
    if not users and not any(markers.has_marker(item) for item in items):
        if OUT in config.stash and not config.stash[OUT].is_dir():
            close_run_log(config)  # a worker's: no run makes that folder, and the tests are not the lab's
        return
    if only := config.getoption("lab_only", None):
        leave_out_others(config, items, wishes, users, only)
        users = frozenset(item.nodeid for item in items) & users
        if not items:
            return
    # The same order in every worker: the sort is stable, and its key is in the test's source.
    items.sort(key=lambda item: wishes[item.nodeid].cpus or 0)
    if config.getoption("collectonly", False):
        return
    from lab.plugin.isolation import scope_of
    from lab.plugin.meta import describe_run
    from lab.plugin.run_guests import NoSource, chosen_drivers, make_source
    from lab.plugin.session import LabSession
    from lab.report.worker_files import WORKERS_DIR

    chosen = options_of(config)
    if OUT not in config.stash:
        config.stash[OUT] = choose_out(chosen)  # without workers; those got it from the controller
    out = config.stash[OUT]
    worker = worker_name(config)
    open_run_log(config, out, worker)
    source: GuestSource
    try:
        marked = {name for wish in wishes.values() for name in wish.drivers}
        source = make_source(config, chosen, out, marked=marked)
        describe_run(
            source,
            out,
            command=command_of_controller(config),
            root=config.rootpath,
            workers=worker_count(config),
            named=chosen_drivers(chosen).named(),
            repeat=chosen.repeat,
            known=chosen.known,
            project=chosen.project,
        )
    except NoDriver as error:
        raise pytest.UsageError(str(error)) from None
    except LabError as error:
        config.stash[_RECORDER].no_guest(str(error), "usage" if isinstance(error, ConfigError) else "infra")
        if not is_worker(config):
            raise pytest.UsageError(f"no guest is available: {error}") from None
        # A usage error of a worker would reach the user as a crash of that worker.
        source = NoSource(error)
    if chosen.until_red:
        config.pluginmanager.register(repeat.UntilRed(repeat.RedTests(out / WORKERS_DIR)), "lab-until-red")
    mask_credentials(config, source)
    scopes = {item.nodeid: scope_of(item, chosen.isolation) for item in items}
    config.stash[SESSION] = LabSession(
        chosen,
        source,
        out=out,
        worker=worker,
        wishes=wishes,
        users=users,
        scopes=scopes,
        debugged=bool(config.getoption("usepdb", False) or config.getoption("trace", False)),
        say=functools.partial(say, config.pluginmanager.get_plugin(_TERMINAL), worker),
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Record the tests of the run."""
    lab_session = session.config.stash.get(SESSION, None)
    if lab_session is not None:
        lab_session.collected([item.nodeid for item in session.items])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Record for a suite that cannot be collected whether the host is the cause; its message may contain any bytes."""
    report = yield
    if report.failed:
        mark_collection(report)
        clean_report(collector.config, report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Hold this worker's share of the host while the test runs."""
    session = item.config.stash.get(SESSION, None)
    if session is None or item.nodeid not in session.users:
        return (yield)
    with session.host_share(item.nodeid, nextitem.nodeid if nextitem is not None else None):
        return (yield)


# The innermost wrapper: a test that is skipped here ends in order only if pytest's own wrappers have begun.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Open the test's window before its first fixture, and watch for sleeps on the host."""
    __tracebackhide__ = True
    session = item.config.stash.get(SESSION, None)
    if session is None:
        return (yield)
    session.begin(item.nodeid)
    with session.host_sleep.watched(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Tell a test that waits on the host for a guest whose time is its own."""
    __tracebackhide__ = True
    session = item.config.stash.get(SESSION, None)
    if session is None or session.run is None:
        return (yield)
    with session.host_sleep.watched(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Close the test's window after its last fixture, and raise its error."""
    session = item.config.stash.get(SESSION, None)
    if session is None:
        return (yield)
    session.tear_down(nextitem.nodeid if nextitem is not None else None)
    try:
        result = yield
    finally:
        session.close_window()
    session.check_window()
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the kernel prints to a failure, and the verdict to the report of the teardown."""
    report = yield
    session = item.config.stash.get(SESSION, None)
    if session is not None:
        session.phase_ended(call, report)
        clean_report(item.config, report)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_warning_recorded(warning_message: warnings.WarningMessage) -> None:
    """Warnings are shown at the end, as they are."""
    if isinstance(warning_message.message, Warning):
        warning_message.message.args = cleaned(warning_message.message.args, showable)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """The controller reports mistakes of the user: the end of a worker would hide the message."""
    try:
        return (yield)
    except pytest.UsageError as error:
        if not is_worker(session.config):
            raise
        refuse_in_worker(session.config, str(error))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the guest; the controller then makes the report from the files of all workers."""
    config = session.config
    lab_session = config.stash.get(SESSION, None)
    if lab_session is not None:
        lab_session.close()
    recorder = config.stash[_RECORDER]
    if is_worker(config):
        tell_controller(config, recorder)
        return
    if config.getoption("collectonly", False):
        return  # this may be `lab run`'s own count of the tests, which must not touch the run's folder
    out = config.stash.get(OUT, None) or fresh_out(config)
    if out is None or not out.is_dir():
        return
    from lab.plugin.run_end import attach_to_junit, finish_run
    from lab.report.sessionfile import write_session

    stopped = session.shouldfail or session.shouldstop
    write_session(out, recorder.facts(int(session.exitstatus), stopped if isinstance(stopped, str) else ""))
    chosen = options_of(config)
    finished = finish_run(out, drivers_in_lab_file=chosen.sources.get("drivers") == "lab file", page=not chosen.prepared)
    if finished is not None:
        if junit := config.getoption("xmlpath", None):
            attach_to_junit(config.invocation_params.dir / os.path.expandvars(Path(junit).expanduser()), out)
        config.stash[_FINISHED] = finished
        if session.exitstatus == pytest.ExitCode.OK and finished.report.exit_code != OK:
            # A fault after the last test's window: pytest itself has seen no test fail. Or nothing was checked.
            nothing = finished.report.exit_code == NOTHING
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED if nothing else pytest.ExitCode.TESTS_FAILED
        link_latest(out, options_of(config).out_root)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what ran on which guests, and where the report is."""
    finished = config.stash.get(_FINISHED, None)
    if finished is None:
        return
    from lab.plugin.run_end import summary_lines

    terminalreporter.section("driver test lab", sep="=")
    for line in summary_lines(finished):
        terminalreporter.write_line(showable(line))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the guest, also after an interrupt or an error in the middle."""
    session = config.stash.get(SESSION, None)
    try:
        if session is not None:
            session.close()
    finally:
        close_run_log(config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Show which options are not the default; nothing in a session without any."""
    if is_worker(config):
        return []
    try:
        chosen = options_of(config)
    except pytest.UsageError as error:
        # Perhaps a session without lab tests, which it must not stop; one with lab tests ends with it.
        return [f"lab: {error}"]
    # A lab file has keys for the command line only, such as workers.
    given = [
        f"{key} {getattr(chosen, key)} ({source})"
        for key, source in chosen.sources.items()
        if source != "default" and hasattr(chosen, key)
    ]
    return [f"lab: {lab.__version__}, " + ", ".join(given)] if given else []


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Show which guest the tests will run on, and what it lacks for their drivers."""
    session = config.stash.get(SESSION, None)
    if session is None:
        return []
    used = sorted({name for nodeid in session.users for name in session.wishes_of(nodeid).drivers})
    clock = ", virtual clock" if session.source.clock == "virtual" else ""
    guests = f"{session.guest_text}; {session.source.accelerator}{clock}"
    return [f"lab: {line}" for line in (guests, *session.imports.lines(used))]
