"""The launcher that starts each command as a Unix process: for tests, and for a host without the resident launcher."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Final

from labwinrm.config import Config
from labwinrm.processes import StartError, StartRequest

#: STATUS_CONTROL_C_EXIT, which is how a Windows program ends by ctrl-c.
CONTROL_C_EXIT: Final = 0xC000013A
#: The environment variable by which a command's remaining processes are found when its shell ends.
SHELL_VARIABLE: Final = "LABWINRM_SHELL"
_WIN_ERRORS: Final = {FileNotFoundError: 2, NotADirectoryError: 267, PermissionError: 5}


class DirectLauncher:
    """Starts commands by ``shell_command`` and ``program_command`` of the configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def start(self, request: StartRequest) -> DirectProcess:
        """See :class:`labwinrm.processes.Launcher`."""
        if request.use_shell:
            argv = [*self._config.shell_command, request.line]
        else:
            argv = [*self._config.program_command, request.command, *request.arguments]
        folder = self._folder(request.working_directory or self._config.working_directory)
        environment = {**os.environ, **self._config.environment, **request.environment, SHELL_VARIABLE: request.shell}
        try:
            popen = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=environment,
                start_new_session=True,
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            number = next((code for kind, code in _WIN_ERRORS.items() if isinstance(error, kind)), 87)
            raise StartError(number, f"{argv[0]} does not start: {error}") from error
        return DirectProcess(popen)

    def end_shell(self, shell: str) -> None:
        """See :class:`labwinrm.processes.Launcher`."""
        mark = f"{SHELL_VARIABLE}={shell}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):  # it has ended, or belongs to another user
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        os.kill(int(entry.name), signal.SIGKILL)

    def close(self) -> None:
        """See :class:`labwinrm.processes.Launcher`; commands are closed by their shells."""

    def _folder(self, windows: str) -> str | None:
        if not windows:
            return None
        path = Path(windows)
        if self._config.drive_c is not None:
            drive, _, rest = windows.replace("\\", "/").partition(":")
            if drive.lower() != "c":
                raise StartError(267, f"{windows}: not a folder of drive C")
            path = self._config.drive_c / rest.lstrip("/")
        if not path.is_dir():
            raise StartError(267, f"{windows}: the directory name is invalid")
        return str(path)


class DirectProcess:
    """A Unix process that leads its own session."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stdin is not None
        assert popen.stdout is not None
        assert popen.stderr is not None
        self._popen = popen
        self._released = False
        # The pipes become plain descriptors: their owner closes them, not Popen's file objects.
        self.stdin, self.stdout, self.stderr = (os.dup(file.fileno()) for file in (popen.stdin, popen.stdout, popen.stderr))
        for file in (popen.stdin, popen.stdout, popen.stderr):
            file.close()
        self.exit_fd = os.pidfd_open(popen.pid)

    def exit_code(self) -> int | None:
        """See :class:`labwinrm.processes.Process`."""
        code = self._popen.poll()
        if code is None or code >= 0:
            return code
        return CONTROL_C_EXIT if code == -signal.SIGINT else 1

    def interrupt(self, *, hard: bool) -> None:
        """See :class:`labwinrm.processes.Process`."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGQUIT if hard else signal.SIGINT)

    def terminate(self) -> None:
        """See :class:`labwinrm.processes.Process`."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def release(self) -> None:
        """See :class:`labwinrm.processes.Process`."""
        if not self._released:
            self._released = True
            self._popen.wait()
            os.close(self.exit_fd)
