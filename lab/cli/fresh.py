"""Makes a fork of this process what a new Python process is.

Its signals, standard streams, environment, module search path, log handlers and exit handlers are those of a fresh one. Only
the imported modules are the parent's.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from lab.host.lifetime import die_with


def run_fresh(
    main: Callable[[], None],
    *,
    parent: int,
    cwd: Path,
    env: Mapping[str, str],
    streams: tuple[int | None, int | None, int | None] = (None, None, None),
    group: bool = False,
) -> NoReturn:
    """In a fork: set up a process like a new one, call ``main``, and end without the exit handlers of the parent.

    Args:
        main: The program. It ends by returning (exit code 0), or by ``SystemExit``.
        parent: The process id of the process that forked: this one ends with it.
        cwd: The folder that it runs in.
        env: Its environment.
        streams: Descriptors for its standard input, output and error; None: it shares the parent's.
        group: It leads a process group of its own.
    """
    code = 1
    try:
        if group:
            os.setpgid(0, 0)
        die_with(parent)
        _plain_signals()
        _plain_exit()
        _plain_logging()
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        _plain_streams(streams)
        main()
        code = 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            code = end.code or 0
        else:  # a text, as of sys.exit("no licence"): the interpreter shows it, and ends with 1
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        _tell()
    finally:
        _end()
        os._exit(code & 0xFF)


def _end() -> None:
    """What an interpreter does at its end.

    Each step runs even if the one before failed; errors are printed, and change nothing.
    """
    for step in (threading._shutdown, atexit._run_exitfuncs, lambda: sys.stdout.flush()):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException:
            _tell()
    with contextlib.suppress(OSError, ValueError):  # there is no other place to report it
        sys.stderr.flush()


def _tell() -> None:
    """Write the traceback of an error to standard error, if that can be written to."""
    with contextlib.suppress(OSError, ValueError):
        traceback.print_exc()


def _plain_signals() -> None:
    """Set signals as for a new program: handlers become the default, ignored signals stay ignored."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _plain_exit() -> None:
    """Remove the exit handlers of the command, and keep those that a new interpreter would have."""
    atexit._clear()
    atexit.register(logging.shutdown)
    if "multiprocessing.util" in sys.modules:
        atexit.register(sys.modules["multiprocessing.util"]._exit_function)
    # weakref.finalize asks for a call at the end when the first of its objects is made, once for each process: the command's
    # were, so those of the tests would never be called (tempfile.TemporaryDirectory is one).
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]


def _plain_logging() -> None:
    """Remove the log handlers of the command: pytest opens its own."""
    root = logging.getLogger()
    for logger in (root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            for handler in logger.handlers[:]:
                if not isinstance(handler, logging.NullHandler):  # of a library, for programs without logging
                    logger.removeHandler(handler)
            logger.setLevel(logging.WARNING if logger is root else logging.NOTSET)


def _plain_streams(streams: tuple[int | None, int | None, int | None]) -> None:
    """The standard streams as Python opens them, on the given descriptors."""
    for number, descriptor in enumerate(streams):
        if descriptor is not None:
            os.dup2(descriptor, number)
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name in ((1, "stdout"), (2, "stderr")):
        old = getattr(sys, name)
        errors = "backslashreplace" if name == "stderr" else getattr(sys.__stdout__, "errors", None)
        new: io.TextIOWrapper
        if unbuffered:
            raw = open(number, "wb", buffering=0, closefd=False)  # noqa: SIM115
            new = io.TextIOWrapper(raw, encoding=old.encoding, errors=errors, write_through=True)
        else:
            new = open(number, "w", encoding=old.encoding, errors=errors, closefd=False)  # noqa: SIM115
        new.reconfigure(line_buffering=name == "stderr" or new.isatty())
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
