"""The faults of WS-Management that a shell endpoint gives, with the numbers that Windows gives for them."""

from __future__ import annotations

from dataclasses import dataclass

_WSMAN_FAULT = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"
_ADDRESSING_FAULT = "http://schemas.xmlsoap.org/ws/2004/08/addressing/fault"
_DETAIL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/faultDetail/"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """What stays the same about a fault.

    Attributes:
        code: Windows error number of the WSManFault element.
        subcode: SOAP subcode with its prefix.
        reason: First sentence, for people.
        blame: ``Sender`` or ``Receiver``.
        detail: FaultDetail URI, may be empty.
        action: Action URI of the fault's envelope.
    """

    code: int
    subcode: str
    reason: str
    blame: str = "Sender"
    detail: str = ""
    action: str = _WSMAN_FAULT


TIMED_OUT = FaultKind(
    2150858793,
    "w:TimedOut",
    "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.",
    blame="Receiver",
)
SHELL_NOT_FOUND = FaultKind(
    2150858843,
    "w:InvalidSelectors",
    "The request contained selectors that do not name an object of the service.",
    detail=_DETAIL + "UnexpectedSelectors",
)
SELECTOR_MISSING = FaultKind(
    2150858842,
    "w:InvalidSelectors",
    "The request lacks a selector that the resource needs.",
    detail=_DETAIL + "InsufficientSelectors",
)
ACCESS_DENIED = FaultKind(5, "w:AccessDenied", "Access is denied.")
ACTION_NOT_SUPPORTED = FaultKind(
    2150858771, "a:ActionNotSupported", "The action is not supported by the service.", action=_ADDRESSING_FAULT
)
INVALID_RESOURCE = FaultKind(
    2150858811,
    "a:DestinationUnreachable",
    "The service does not have the resource that the resource URI names.",
    detail=_DETAIL + "InvalidResourceURI",
    action=_ADDRESSING_FAULT,
)
SCHEMA = FaultKind(2150858817, "w:SchemaValidationError", "The request does not follow the schema.")
INVALID_PARAMETER = FaultKind(87, "w:InvalidParameter", "The parameter is incorrect.")
ENVELOPE_TOO_LARGE = FaultKind(
    2150858790, "w:EncodingLimit", "The envelope is larger than the service takes.", detail=_DETAIL + "ServiceEnvelopeLimit"
)
ENVELOPE_TOO_SMALL = FaultKind(
    2150858878, "w:EncodingLimit", "The MaxEnvelopeSize of the request is too small.", detail=_DETAIL + "MinimumEnvelopeLimit"
)
TOO_MANY_SHELLS = FaultKind(2150859173, "w:QuotaLimit", "The user has reached the number of shells allowed at once.")
TOO_MANY_COMMANDS = FaultKind(2150859174, "w:QuotaLimit", "The shell has reached the number of commands allowed.")
RECEIVE_IN_PROGRESS = FaultKind(2150859047, "w:InternalError", "Another receive is waiting on the same command.", "Receiver")
INPUT_CLOSED = FaultKind(232, "w:InternalError", "The pipe is being closed.", "Receiver")
ABORTED = FaultKind(
    995, "w:InternalError", "The operation has been aborted because the shell or its command was closed.", "Receiver"
)
INTERNAL = FaultKind(2150858883, "w:InternalError", "The service met an unexpected error.", "Receiver")


def start_failed(error: int, reason: str) -> FaultKind:
    """The fault for a command that could not be started, with the Windows error that says why."""
    return FaultKind(error, "w:InternalError" if error != 5 else "w:AccessDenied", reason, "Receiver")


class WsmanFault(Exception):
    """A request's answer is a fault.

    Args:
        kind: Which one.
        message: What happened in this case; the kind's reason when empty.
        relates_to: Message identifier of the request.
    """

    def __init__(self, kind: FaultKind, message: str = "", *, relates_to: str = "") -> None:
        super().__init__(message or kind.reason)
        self.kind = kind
        self.message = message or kind.reason
        self.relates_to = relates_to
