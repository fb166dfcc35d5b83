"""WS-Management operations on shells: which action does what, and what it answers."""

from __future__ import annotations

import binascii
import logging
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from labwinrm import soap
from labwinrm.config import Config
from labwinrm.faults import (
    ACTION_NOT_SUPPORTED,
    ENVELOPE_TOO_LARGE,
    ENVELOPE_TOO_SMALL,
    INTERNAL,
    INVALID_PARAMETER,
    INVALID_RESOURCE,
    SCHEMA,
    SELECTOR_MISSING,
    WsmanFault,
)
from labwinrm.processes import ClientGone, Output, StartRequest
from labwinrm.shells import Shell, ShellSettings, ShellTable
from labwinrm.soap import NS_SHELL, SoapRequest

SHELL_URI: Final = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
CMD_URI: Final = SHELL_URI + "/cmd"
CONFIG_URI: Final = "http://schemas.microsoft.com/wbem/wsman/1/config"
TRANSFER: Final = "http://schemas.xmlsoap.org/ws/2004/09/transfer/"
ENUMERATION: Final = "http://schemas.xmlsoap.org/ws/2004/09/enumeration/"
#: Windows answers nothing shorter than this.
MIN_ENVELOPE: Final = 8192
#: What an answer carries besides the streams' base64, generously.
_ENVELOPE_ROOM: Final = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Attributes:
        user: Account name.
        address: Client's address.
        socket: Descriptor of the connection, to notice that the client hung up; -1 when there is none.
    """

    user: str
    address: str
    socket: int = -1


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status with an envelope."""

    status: int
    envelope: bytes


class Service:
    """Answers envelopes.

    Args:
        config: Limits and defaults.
        shells: Where shells live.
        machine: Name that faults carry.
        log: Gets one line for each unexpected error.
    """

    def __init__(self, config: Config, shells: ShellTable, machine: str, log: logging.Logger) -> None:
        self._config = config
        self._shells = shells
        self._machine = machine
        self._log = log
        self._actions = {
            TRANSFER + "Create": self._create,
            TRANSFER + "Delete": self._delete,
            TRANSFER + "Get": self._get,
            ENUMERATION + "Enumerate": self._enumerate,
            SHELL_URI + "/Command": self._command,
            SHELL_URI + "/Send": self._send,
            SHELL_URI + "/Receive": self._receive,
            SHELL_URI + "/Signal": self._signal,
        }

    def answer(self, data: bytes, caller: Caller) -> Answer:
        """Answer one envelope; every error but a hung-up client becomes a fault.

        Raises:
            ClientGone: The client hung up while the request waited.
        """
        relates_to = ""
        try:
            request = soap.parse_request(data)
            relates_to = request.message_id
            if request.is_identify:
                return Answer(200, _identify())
            if len(data) > self._config.max_envelope_kb * 1024:
                raise WsmanFault(
                    ENVELOPE_TOO_LARGE, f"It may have {self._config.max_envelope_kb} KB, it has {len(data)} bytes."
                )
            action, body = self._dispatch(request, caller)
            return Answer(200, soap.build_response(action, relates_to, body))
        except WsmanFault as error:
            fault = error
        except ClientGone:
            raise
        except Exception as error:
            self._log.exception("request %s failed", relates_to)
            fault = WsmanFault(INTERNAL, f"{type(error).__name__}: {error}")
        fault.relates_to = fault.relates_to or relates_to
        return Answer(500, soap.build_fault(fault, self._machine))

    def _dispatch(self, request: SoapRequest, caller: Caller) -> tuple[str, str]:
        handler = self._actions.get(request.action)
        if handler is None:
            raise WsmanFault(ACTION_NOT_SUPPORTED, f"The action {request.action} is not supported by this service.")
        resource = request.resource_uri.rstrip("/")
        is_config = resource.startswith(CONFIG_URI) and request.action == TRANSFER + "Get"
        if resource not in (SHELL_URI, CMD_URI) and not is_config:
            raise WsmanFault(
                INVALID_RESOURCE, f"The resource URI {request.resource_uri!r} is not one of this service; it has {CMD_URI}."
            )
        if 0 < request.max_envelope < MIN_ENVELOPE:
            raise WsmanFault(ENVELOPE_TOO_SMALL, f"MaxEnvelopeSize has to be {MIN_ENVELOPE} at least.")
        return handler(request, caller)

    def _shell(self, request: SoapRequest) -> Shell:
        identifier = request.selectors.get("shellid", "")
        if not identifier:
            raise WsmanFault(SELECTOR_MISSING, "The request needs the selector ShellId.")
        return self._shells.get(identifier)

    def _create(self, request: SoapRequest, caller: Caller) -> tuple[str, str]:
        body = _body(request, "Shell")
        variables = body.findall(f"{{{NS_SHELL}}}Environment/{{{NS_SHELL}}}Variable")
        idle, lifetime = _child(body, "IdleTimeOut") or _child(body, "IdleTimeout"), _child(body, "Lifetime")
        settings = ShellSettings(
            owner=caller.user,
            client=caller.address,
            name=_child(body, "Name"),
            working_directory=_child(body, "WorkingDirectory"),
            environment={each.get("Name", ""): each.text or "" for each in variables},
            input_streams=_child(body, "InputStreams") or "stdin",
            output_streams=_child(body, "OutputStreams") or "stdout stderr",
            codepage=_codepage(request.options.get("WINRS_CODEPAGE", "")),
            no_profile=_truth(request.options.get("WINRS_NOPROFILE", "")),
            idle_timeout_s=_idle(idle, self._config.idle_timeout_s),
            lifetime_s=soap.parse_duration(lifetime) if lifetime else 0.0,
        )
        if any(not name or "=" in name or "\0" in name for name in settings.environment):
            raise WsmanFault(INVALID_PARAMETER, "A variable of the environment has no name, or one with '='.")
        shell = self._shells.create(settings, body.get("ShellId", ""))
        created = (
            "<x:ResourceCreated><a:Address>" + soap.text(soap.ANONYMOUS) + "</a:Address><a:ReferenceParameters>"
            f"<w:ResourceURI>{CMD_URI}</w:ResourceURI><w:SelectorSet>"
            f'<w:Selector Name="ShellId">{shell.identifier}</w:Selector></w:SelectorSet>'
            "</a:ReferenceParameters></x:ResourceCreated>"
        )
        return TRANSFER + "CreateResponse", created + _describe(shell)

    def _delete(self, request: SoapRequest, caller: Caller) -> tuple[str, str]:
        self._shells.delete(self._shell(request).identifier)
        return TRANSFER + "DeleteResponse", ""

    def _get(self, request: SoapRequest, caller: Caller) -> tuple[str, str]:
        if request.resource_uri.startswith(CONFIG_URI):
            return TRANSFER + "GetResponse", self._describe_config()
        return TRANSFER + "GetResponse", _describe(self._shell(request))

    def _enumerate(self, request: SoapRequest, caller: Caller) -> tuple[str, str]:
        # All in one answer: the client is allowed to ask for this (OptimizeEnumeration), and shells are few.
        items = "".join(_describe(shell) for shell in self._shells.all())
        body = (
            "<n:EnumerateResponse><n:EnumerationContext></n:EnumerationContext>"
            f"<w:Items>{items}</w:Items><w:EndOfSequence/></n:EnumerateResponse>"
        )
        return ENUMERATION + "EnumerateResponse", body

    def _command(self, request: SoapRequest, caller: Caller) -> tuple[str, str]:
        body = _body(request, "CommandLine")
        # Blanks inside a command line mean something, line breaks around it come from pretty-printed XML.
        line = (body.findtext(f"{{{NS_SHELL}}}Command") or "").strip("\r\n")
        if not line.strip() or "\0" in line:
            raise WsmanFault(INVALID_PARAMETER, "The command line is empty.")
        arguments = tuple(each.text or "" for each in body.findall(f"{{{NS_SHELL}}}Arguments"))
        with self._shell(request) as shell:
            start = StartRequest(
                command=line,
                arguments=arguments,
                use_shell=not _truth(request.options.get("WINRS_SKIP_CMD_SHELL", "")),
                working_directory=shell.settings.working_directory,
                environment=shell.settings.environment,
                codepage=shell.settings.codepage,
                shell=shell.identifier,
            )
            command = shell.start(start, body.get("CommandId", ""))
        answer = f"<rsp:CommandResponse><rsp:CommandId>{command.identifier}</rsp:CommandId></rsp:CommandResponse>"
        return SHELL_URI + "/CommandResponse", answer

    def _send(self, request: SoapRequest, caller: Caller) -> tuple[str, str]:
        body = _body(request, "Send")
        with self._shell(request) as shell:
            for stream in body.findall(f"{{{NS_SHELL}}}Stream"):
                if stream.get("Name") != "stdin":
                    raise WsmanFault(INVALID_PARAMETER, f"{stream.get('Name')!r} is not an input stream of this shell.")
                try:
                    data = binascii.a2b_base64(stream.text or "")
                except ValueError:
                    raise WsmanFault(SCHEMA, "The stream is not valid base64.") from None
                command = shell.command(stream.get("CommandId", ""))
                command.send(data, end=_truth(stream.get("End", "")), timeout_s=request.timeout_s)
        return SHELL_URI + "/SendResponse", "<rsp:SendResponse/>"

    def _receive(self, request: SoapRequest, caller: Caller) -> tuple[str, str]:
        wanted = _body(request, "Receive").find(f"{{{NS_SHELL}}}DesiredStream")
        if wanted is None:
            raise WsmanFault(SCHEMA, "Receive has no DesiredStream.")
        most = min(request.max_envelope or 1 << 30, self._config.max_envelope_kb * 1024)
        with self._shell(request) as shell:
            command = shell.command(wanted.get("CommandId", ""))
            output = command.receive(
                tuple((wanted.text or "stdout stderr").split()),
                timeout_s=request.timeout_s,
                limit=(most - _ENVELOPE_ROOM) * 3 // 4,
                client=caller.socket,
            )
        return SHELL_URI + "/ReceiveResponse", _streams(command.identifier, output)

    def _signal(self, request: SoapRequest, caller: Caller) -> tuple[str, str]:
        body = _body(request, "Signal")
        identifier = body.get("CommandId", "")
        code = _child(body, "Code").rsplit("/", 1)[-1].lower()
        with self._shell(request) as shell:
            if code == "terminate":
                shell.end_command(identifier)
            elif code in ("ctrl_c", "ctrl_break"):
                shell.command(identifier).interrupt(hard=code == "ctrl_break")
            else:
                raise WsmanFault(INVALID_PARAMETER, f"The signal {_child(body, 'Code')[:100]!r} is not known.")
        return SHELL_URI + "/SignalResponse", "<rsp:SignalResponse/>"

    def _describe_config(self) -> str:
        return (
            f'<cfg:Config xmlns:cfg="{CONFIG_URI}"><cfg:MaxEnvelopeSizekb>{self._config.max_envelope_kb}'
            "</cfg:MaxEnvelopeSizekb><cfg:MaxTimeoutms>60000</cfg:MaxTimeoutms><cfg:MaxBatchItems>32000</cfg:MaxBatchItems>"
            "<cfg:Service><cfg:AllowUnencrypted>false</cfg:AllowUnencrypted></cfg:Service></cfg:Config>"
        )


def _identify() -> bytes:
    return (
        f'<s:Envelope xml:lang="en-US" xmlns:s="{soap.NS_SOAP}"><s:Header/><s:Body>'
        f'<wsmid:IdentifyResponse xmlns:wsmid="{soap.NS_IDENTITY}">'
        "<wsmid:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd</wsmid:ProtocolVersion>"
        "<wsmid:ProductVendor>labwinrm</wsmid:ProductVendor><wsmid:ProductVersion>Stack: 3.0</wsmid:ProductVersion>"
        "</wsmid:IdentifyResponse></s:Body></s:Envelope>"
    ).encode()


def _describe(shell: Shell) -> str:
    settings = shell.settings
    fields = {
        "ShellId": shell.identifier,
        "Name": settings.name,
        "ResourceUri": CMD_URI,
        "Owner": settings.owner,
        "ClientIP": settings.client,
        "IdleTimeOut": f"PT{settings.idle_timeout_s:.3f}S",
        "InputStreams": settings.input_streams,
        "OutputStreams": settings.output_streams,
        "WorkingDirectory": settings.working_directory,
        "ShellRunTime": _duration(shell.run_time_s),
        "ShellInactivity": _duration(shell.idle_s),
    }
    return "<rsp:Shell>" + "".join(f"<rsp:{k}>{soap.text(v)}</rsp:{k}>" for k, v in fields.items() if v) + "</rsp:Shell>"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"P{days}DT{hours}H{minutes}M{rest}S"


def _streams(command: str, output: Output) -> str:
    parts = []
    for name, data in output.chunks.items():
        content = binascii.b2a_base64(data, newline=False).decode("ascii")
        parts.append(f'<rsp:Stream Name="{name}" CommandId="{command}">{content}</rsp:Stream>')
    parts += [f'<rsp:Stream Name="{name}" CommandId="{command}" End="true"/>' for name in sorted(output.ended, reverse=True)]
    state = "Running" if output.exit_code is None else "Done"
    code = "" if output.exit_code is None else f"<rsp:ExitCode>{output.exit_code}</rsp:ExitCode>"
    parts.append(f'<rsp:CommandState CommandId="{command}" State="{SHELL_URI}/CommandState/{state}">{code}</rsp:CommandState>')
    return "<rsp:ReceiveResponse>" + "".join(parts) + "</rsp:ReceiveResponse>"


def _body(request: SoapRequest, name: str) -> Element:
    if request.body is None or request.body.tag != f"{{{NS_SHELL}}}{name}":
        raise WsmanFault(SCHEMA, f"The body has no {name} element of the shell namespace.")
    return request.body


def _child(parent: Element, name: str) -> str:
    return (parent.findtext(f"{{{NS_SHELL}}}{name}") or "").strip()


def _truth(value: str) -> bool:
    return value.strip().lower() in ("true", "1")


def _codepage(value: str) -> int:
    if not value:
        return 0
    if not (value.isascii() and value.isdigit() and len(value) <= 5):
        raise WsmanFault(INVALID_PARAMETER, f"WINRS_CODEPAGE {value[:20]!r} is not a code page.")
    return int(value)


def _idle(value: str, default: float) -> float:
    if not value:
        return default
    # pywinrm passes what its caller gave through, and that is often a bare number of seconds.
    seconds = float(value) if value.isascii() and value.isdigit() else soap.parse_duration(value)
    if seconds <= 0:
        raise WsmanFault(INVALID_PARAMETER, "IdleTimeOut has to be more than nothing.")
    return seconds
