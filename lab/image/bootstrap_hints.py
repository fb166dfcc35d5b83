"""What to try when mmdebstrap fails, found in the output of mmdebstrap and of the programs that it runs.

Only lines that report a problem are searched, and each pattern has the words of the program that prints it: names of packages,
progress lines and options also contain words like keyring, proxy and uidmap.
"""

from __future__ import annotations

import re

_PROGRESS = re.compile(
    r"(Get|Hit|Ign):\d|I: |(Selecting|Preparing|Unpacking|Setting up|Processing|Fetched|Reading|Building) |\(Reading "
)
_NAMESPACES = "user namespaces are not allowed here, as in many containers: build as root, or allow them for this user"
_KEYS = "the keys may be too old for this release: sudo apt-get install debian-archive-keyring"
_SPACE = "free space in the folder that TMPDIR names (/tmp when unset); 3 GB are enough"
_NETWORK = "check the network and the proxy settings of apt (http_proxy, /etc/apt/apt.conf.d)"
#: The first match wins, so a cause comes before its effects: a login page of a network portal fails as an unsigned file, and
#: with a wrong clock good signatures and certificates fail.
_CAUSES = tuple(
    (re.compile(pattern, re.IGNORECASE | re.MULTILINE), hint)
    for pattern, hint in (
        (
            r"^lab: LabCompat ",
            "this version of the lab does not know the Wine that Debian has today: use a newer lab; driver/wine-compat makes"
            " the driver",
        ),
        (r"No space left on device|Disk quota exceeded|not enough free (disk )?space|don't have enough free space", _SPACE),
        (
            r"NOSPLIT|does the network require authentication|\b511\b.*Network Authentication",
            "the network answers with a login page: log in with a browser, or set the right proxy (http_proxy)",
        ),
        (
            r"\b407\b.*Proxy|Proxy Authentication Required",
            "the proxy needs a user name and a password: http_proxy=http://NAME:PASSWORD@HOST:PORT",
        ),
        (
            r"(Err|E|W):.*\b(401|403)\b|^ *(401|403) +\w+",
            "a proxy, a portal or the mirror refuses: log in with a browser, check http_proxy, or use another mirror",
        ),
        (
            r"is not valid yet|Not live until|certificate is not yet (valid|activated)|NotBefore|is in the future",
            "the host's clock is slow: set date and time (timedatectl set-ntp true), and try again",
        ),
        (
            r"Release file .* is expired|certificate (has|is) expired",
            "the host's clock is fast, or the mirror is out of date: check date and time first, then use another mirror",
        ),
        (
            r"certificate .*(not trusted|verification failed|verify failed)|unknown issuer|no CA certificates",
            "the mirror's certificate is not trusted: sudo apt-get install ca-certificates, and install the certificate"
            " of a TLS proxy",
        ),
        (
            r"BADSIG|Hash Sum mismatch|File has unexpected size|unexpected end of file",
            "the download differs from the mirror's content: a proxy changes it, or the mirror is being updated; try"
            " again later",
        ),
        (r"NO_PUBKEY|EXPKEYSIG|KEYEXPIRED|REVKEYSIG|public key is not available|Missing key [0-9A-F]{16}", _KEYS),
        (r"keyring\b.*(does not exist|not readable|No such file)", _KEYS),
        (
            r"apparmor_restrict_unprivileged_userns",
            "AppArmor forbids user namespaces: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or build as root",
        ),
        (
            r"(newuidmap|newgidmap).*(Operation not permitted|Permission denied|Could not set caps|different user"
            r"|(write to|open of) [ug]id_map failed)",
            _NAMESPACES,
        ),
        (
            r"(newuidmap|newgidmap): .*range .* not allowed|/etc/sub[ug]id|invalid .*sub[ug]id|sub[ug]id .*(missing|no entr)",
            "add this user to /etc/subuid and /etc/subgid: sudo usermod --add-subuids 100000-165535 "
            "--add-subgids 100000-165535 USER",
        ),
        (
            # Not "failed": mmdebstrap prints that after every failure of a program that exists.
            r"(newuidmap|newgidmap)\b.*(not found|No such file)|(cannot find|No such file.*) new[ug]idmap",
            "sudo apt-get install uidmap, and add this user to /etc/subuid and /etc/subgid",
        ),
        (r"unshare.*(Operation not permitted|No space left|failed)|CLONE_NEWUSER|unprivileged_userns_clone", _NAMESPACES),
        (r"mounted with (noexec|nodev)|\b(noexec|nodev)\b.*(TMPDIR|mount)", "set TMPDIR to a folder of another file system"),
        (r"Read-only file system", "set TMPDIR to a writable folder"),
        (
            r"Could not resolve|Temporary failure (resolving|in name resolution)|Name or service not known",
            "host names cannot be resolved: check the network, DNS (/etc/resolv.conf), and the name in http_proxy",
        ),
        (
            r"Unable to locate package|has no installation candidate",
            "correct `packages` in the recipe, or use a mirror that has them",
        ),
        (
            r"does not have a Release file|\b404\b +Not Found",
            "the mirror does not have it (any more): use another mirror, or another `suite` in the recipe",
        ),
        (r"Unable to connect|Could not connect|Connection (refused|timed out|failed)|Network is unreachable", _NETWORK),
        (r"Failed to fetch", _NETWORK),
        # Last: this line follows every failure to download the list of signatures.
        (r"is not signed", _KEYS),
    )
)


def hint_for(output: str) -> str:
    """What to try, found in the output of mmdebstrap; empty when no pattern matches."""
    told = "\n".join(line for line in output.splitlines() if not _PROGRESS.match(line.strip()))
    return next((hint for pattern, hint in _CAUSES if pattern.search(told)), "")
