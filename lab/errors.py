"""The exceptions of the lab: the class of an error decides the verdict.

Meaning decides the class, not the layer that noticed it, and the class decides the verdict:

    LabError
      ConfigError         what the user wrote is wrong: file, key, line       -> usage error (exit 2)
        SuiteError        a test uses the lab wrongly: a marker, a fixture    -> test
          GuestRefuses    a guest does not take what a manifest gives it      -> test
      HostToolError       a program of this host is missing or failed         -> infra
      ImageError          a guest image cannot be built or is not usable      -> infra
      PluginError         a package that extends the lab cannot be used       -> infra
      SnapshotFailed      no snapshot can be taken, or one cannot be used   -> a cold boot instead, and infra
      GuestError          something between the lab and a guest               -> infra unless it says otherwise
        BootTimeout       the guest did not get ready in time
        GuestExited       the virtual machine ended while it was needed
        TransportError    the guest did not answer, or answered nonsense
          WrongBinary     a file in the guest is not the one that the run names
        VerifierNotInForce  Driver Verifier does not check what the run asks for
        CommandFailed     a command ran in the guest and ended with an error  -> the caller decides
        ServiceError      sc.exe refused, with the Windows error code         -> product
        GuestCrashed      the driver took the guest (or its host process) down -> crash
        GuestLacks        the driver called what only a true Windows has       -> skipped, for want of that
        GuestHung         no answer within the deadline, and the guest is alive
        EvidenceLost      prints are missing: the records have a gap

Each message says what happened and what to try next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self


class LabError(Exception):
    """Base of every error of the lab.

    Args:
        message: What happened, where.
        hint: What to try next: a command, a key to change, a file to read. Empty when there is no useful hint.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  try: {self.hint}" if self.hint else self.message

    def anew(self) -> Self:
        """An equal error that was not raised yet, for code that raises one reason more than once.

        Each ``raise`` of the same instance appends to its traceback, and each note stays with it.
        """
        twin = type(self).__new__(type(self))
        twin.__dict__.update({name: value for name, value in self.__dict__.items() if name != "__notes__"})
        twin.args = self.args
        twin.__cause__ = self.__cause__
        for note in getattr(self, "__notes__", ()):
            twin.add_note(note)
        return twin


class ConfigError(LabError):
    """Something that the user wrote is wrong: an option, a lab file, a manifest.

    Args:
        message: What is wrong, in the user's words.
        file: The file with the mistake, if it is in a file.
        key: Dotted key, for example ``drivers.0.image``.
        line: 1-based line in ``file``; 0 when unknown.
        hint: What to write instead.
    """

    def __init__(self, message: str, *, file: str = "", key: str = "", line: int = 0, hint: str = "") -> None:
        where = file + (f":{line}" if file and line else "") + (f": {key}" if key else "")
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.file = file
        self.key = key
        self.line = line


class NoDriver(ConfigError):
    """The tests of a run need drivers, and no option or file names one."""


class SuiteError(ConfigError):
    """A test uses the lab in a wrong way: a marker's arguments, an unknown driver, a guest outside of tests."""


class GuestRefuses(SuiteError):
    """A guest refuses what a manifest asks for: a file with its path, values of the registry.

    No other guest would take it either, so none is booted for it.
    """


class HostToolError(LabError):
    """A program of the host is missing or failed.

    Args:
        argv: The command as it was started.
        exit_code: Its exit code; ``None`` when it could not be started or was stopped at its deadline.
        output: The last lines that it wrote.
        message: Overrides the generated sentence.
        hint: For a missing tool: the command that installs it.
    """

    def __init__(
        self, argv: Sequence[str], exit_code: int | None, output: str = "", *, message: str = "", hint: str = ""
    ) -> None:
        tail = "\n".join("    " + line for line in output.strip().splitlines()[-15:])
        text = message or (f"{argv[0]} ended with {exit_code}" if exit_code is not None else f"{argv[0]} did not end")
        super().__init__(text + (f"; its last lines:\n{tail}" if tail else ""), hint=hint)
        self.argv = tuple(argv)
        self.exit_code = exit_code
        self.output = output


class ImageError(LabError):
    """A guest image cannot be built, is missing, or does not match its manifest."""


class PluginError(LabError):
    """An installed package that adds a kind to the lab cannot be used; the message names package and entry point."""


class SnapshotFailed(LabError):
    """A snapshot of a guest cannot be taken, or one is damaged; guests can still be booted."""


#: The old name of :class:`SnapshotFailed`, kept for one release.
FreezeFailed = SnapshotFailed


class GuestError(LabError):
    """Something went wrong between the lab and a guest."""


class BootTimeout(GuestError):
    """The guest did not become ready before the deadline; the message carries its last console lines."""


class GuestClockWrong(GuestError):
    """The guest's clock runs at a wrong rate; another boot most likely does not have that problem."""


class GuestExited(GuestError):
    """The virtual machine ended while it was needed; the message carries exit code and last console lines."""


class TransportError(GuestError):
    """The guest did not answer, refused the credentials, or answered something that is not the protocol."""


class WrongBinary(TransportError):
    """A file in the guest is not the one of the run, so that its behaviour proves nothing about the driver."""


class VerifierNotInForce(GuestError):
    """Driver Verifier does not check what the run asks for, so that a pass would prove less than the report says."""


class CommandFailed(GuestError):
    """A command ran in the guest and ended with a non-zero exit code.

    Args:
        command: The command as it was sent.
        exit_code: Windows exit code, 0..0xFFFFFFFF.
        stdout: What it wrote, decoded for people.
        stderr: What it wrote to the error stream, decoded for people.
        hint: What the code means, where it is known.
    """

    def __init__(self, command: str, exit_code: int, stdout: str = "", stderr: str = "", *, hint: str = "") -> None:
        said = (stderr.strip() or stdout.strip())[-800:]
        super().__init__(f"in the guest, `{command}` ended with {exit_code}" + (f": {said}" if said else ""), hint=hint)
        self.command = command
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr


class ServiceError(CommandFailed):
    """The service manager refused to create, start, stop or delete a driver; ``exit_code`` is the Windows error."""


class GuestCrashed(GuestError):
    """The driver under test took the guest, or the process that hosts it, down.

    Args:
        code: Bugcheck code (Windows) or exception code (free guest), for example ``0xC0000005``.
        parameters: Bugcheck parameters (four), or the faulting address (one).
        message: Overrides the generated sentence.
        hint: Where the evidence is.
    """

    def __init__(self, code: int, parameters: Sequence[int] = (), *, message: str = "", hint: str = "") -> None:
        values = ", ".join(f"0x{p:x}" for p in parameters)
        super().__init__(message or f"the driver crashed: code 0x{code:08X} ({values})", hint=hint)
        self.code = code
        self.parameters = tuple(parameters)


class GuestLacks(GuestError):
    """A driver called something that this guest's stand-in for a kernel does not have; the driver is not to blame.

    Args:
        lacks: The missing function, see :mod:`lab.guest.lacks`.
        message: The same in words.
    """

    def __init__(self, lacks: str, message: str) -> None:
        super().__init__(message, hint="a Windows guest has it: docs/windows.md")
        self.lacks = lacks


class GuestHung(GuestError):
    """The guest is alive and does not answer within its deadline."""


class EvidenceLost(GuestError):
    """Prints are missing: sequence numbers jump, or a marker did not arrive."""


class TimingFailed(AssertionError):
    """An assertion about time failed: :func:`lab.suite.timing` raises it, and ``prints.expect()`` for a deadline or a gap.

    It is not a :class:`LabError`. Like any assertion, it is a failure of the driver, unless the guest got too little processor
    time, or the times are the host's and the guest's clock is virtual.

    Args:
        message: What must hold, and what does not.
        host_clock: The clock of the host that the suite reads beside the assertion; empty if there is none.
    """

    def __init__(self, message: str = "", *, host_clock: str = "") -> None:
        super().__init__(message)
        self.host_clock = host_clock
