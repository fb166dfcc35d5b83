"""How Windows judges the signatures of a driver, as text: whether it loads the driver, or only in test mode.

By Microsoft's "Kernel-Mode Code Signing Requirements": a 64-bit kernel loads what is signed up to a root of Microsoft, by way
of certificates that are in the file; in test mode, a driver with any valid signature. A 32-bit kernel loads unsigned drivers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from lab.errors import ConfigError
from lab.toolchain.authenticode import Signature
from lab.toolchain.compile import Arch
from lab.toolchain.pe import inspect
from lab.toolchain.sign import lab_certificate

_REFUSED = "Windows does not load it (error 577)"
_TEST_MODE = "Windows loads it in test mode only (error 577 otherwise)"


def refusal(signatures: Sequence[Signature], arch: Arch | None) -> str:
    """Why a Windows in test mode refuses a driver for its signature, or the lack of one; empty when it does not.

    Args:
        signatures: See :func:`lab.toolchain.authenticode.read_signatures`.
        arch: Processor of the driver.
    """
    if arch == "x86" or any(not signature.problem for signature in signatures):
        return ""
    if not signatures:
        return f"it is not signed: {_REFUSED}"
    return f"its signature is not valid: {signatures[0].problem}; {_REFUSED}"


def windows_says(signatures: Sequence[Signature], arch: Arch | None, trusted: Collection[str] = ()) -> str:
    """What a user must know about Windows when a guest loads any driver: :func:`refusal`, or that test mode is needed.

    Args:
        signatures: See :func:`lab.toolchain.authenticode.read_signatures`.
        arch: Processor of the driver.
        trusted: SHA-256 of certificates whose owner knows that they are for test mode: the lab's own.

    Returns:
        One sentence; empty when there is nothing to say.
    """
    sound = [signature for signature in signatures if not signature.problem]
    if arch == "x86" or not sound:
        return refusal(signatures, arch)
    if any(signature.certificate_sha256 in trusted or _ends_at_microsoft(signature) for signature in sound):
        return ""
    first = sound[0]
    if first.root == first.signer:
        return f"it is signed by {first.signer}, with a self-signed certificate: {_TEST_MODE}"
    return f"it is signed by {first.signer}, whose certificate chain ends at {first.root}, not at Microsoft: {_TEST_MODE}"


def driver_note(image: Path) -> str:
    """:func:`windows_says` for a file, for a guest that takes any driver; empty for what the lab's own key signed.

    A file that cannot be read as an image has no note: loading it gives the error.
    """
    try:
        facts = inspect(image)
    except ConfigError:
        return ""
    return windows_says(facts.signatures, facts.arch, {lab_certificate()} - {""})


def described(signature: Signature) -> Iterator[str]:
    """A signature for people, line by line."""
    if signature.problem:
        yield f"an invalid signature: {signature.problem}"
    if signature.signer:
        chain = " < ".join(signature.chain if signature.root == signature.chain[-1] else (*signature.chain, signature.root))
        yield f"signed ({signature.algorithm}): {chain}"
        yield f"subject {signature.subject}; SHA-256 of the certificate {signature.certificate_sha256}"
        if signature.stamped:
            yield f"time stamp {signature.stamped:%Y-%m-%d %H:%M:%S} UTC by {signature.stamped_by}"
        else:
            yield "no time stamp"


def _ends_at_microsoft(signature: Signature) -> bool:
    # Microsoft's roots for tests are "Microsoft Testing Root …" and "Microsoft Test Root …".
    return signature.root.startswith("Microsoft ") and "Test" not in signature.root and len(signature.chain) > 1
