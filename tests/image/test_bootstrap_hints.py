from __future__ import annotations

import pytest

from lab.image.bootstrap_hints import hint_for


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (
            "E: Failed to fetch http://apt.example/dists/x/InRelease  Clearsigned file isn't valid, got 'NOSPLIT'"
            " (does the network require authentication?)\nE: The repository 'http://apt.example x InRelease' is not signed.",
            "log in with a browser",
        ),
        (
            "E: Release file for http://apt.example/InRelease is not valid yet (invalid for another 2h 4min).",
            "clock is slow",
        ),
        ("E: Release file for http://apt.example/InRelease is expired (invalid since 40d 2h).", "clock is fast"),
        ("Err:1 https://apt.example x InRelease\n  certificate is not yet valid", "clock is slow"),
        ("W: certificate verification failed: The certificate is NOT trusted. (proxy)", "ca-certificates"),
        ("Err:1 http://apt.example x InRelease\n  407  Proxy Authentication Required", "NAME:PASSWORD"),
        (
            "Err:1 http://apt.example x InRelease\n  403  Forbidden [IP: 192.0.2.1 3128]\n"
            "E: The repository 'http://apt.example x InRelease' is not signed.",
            "proxy",
        ),
        ("Err:1 http://apt.example x InRelease\n  401  Unauthorized\nE: … is not signed.", "proxy"),
        ("W: OpenPGP signature check failed: Not live until 2031-01-01T00:00:00Z\nE: … is not signed.", "clock is slow"),
        ("W: Missing key 4CB50190207B4758A3F73A796ED0E7B82643E131, which is needed", "debian-archive-keyring"),
        ("newuidmap: Could not set caps\nE: newuidmap 4711 0 1000 1 failed: ", "namespaces"),
        ("newuidmap: open of uid_map failed: Permission denied\nE: newuidmap 4711 0 1000 1 failed: ", "namespaces"),
        ("W: GPG error: x InRelease: NO_PUBKEY 0E98404D386FA1D9\nE: Failed to fetch", "debian-archive-keyring"),
        ("E: Failed to fetch http://apt.example/p.deb  Hash Sum mismatch", "try again later"),
        ("newuidmap: write to uid_map failed: Operation not permitted\nE: newuidmap 7 0 1000 failed", "namespaces"),
        ("newuidmap: uid range [1-65537) -> [100000-165536) not allowed", "--add-subuids"),
        ("sh: 1: newuidmap: not found", "install uidmap"),
        ("unshare: unshare failed: Operation not permitted", "build as root"),
        ("E: sysctl kernel.apparmor_restrict_unprivileged_userns is set", "AppArmor"),
        ("dpkg: error: cannot write: No space left on device\nE: Failed to fetch x", "TMPDIR"),
        ("E: /tmp is mounted with noexec", "another file system"),
        ("Err:1 http://apt.example x InRelease\n  Temporary failure resolving 'apt.example'", "DNS"),
        ("E: Could not connect to localhost:3142 (127.0.0.1). - connect (111: Connection refused)", "proxy settings"),
        ("E: Unable to locate package wine-lab", "`packages`"),
        (
            "Err:9 http://apt.example x/main amd64 p 1\n  404  Not Found [IP: 192.0.2.1 80]\nE: Failed to fetch p",
            "another mirror",
        ),
        ("E: Failed to fetch http://apt.example/p.deb", "network"),
    ],
)
def test_the_cause_is_reported_and_not_its_consequences(said: str, hint: str) -> None:
    assert hint in hint_for(said)


@pytest.mark.parametrize(
    "said",
    [
        "Get:7 http://apt.example x/main amd64 debian-archive-keyring all 2025.1 [172 kB]\nE: run_chroot failed",
        "Selecting previously unselected package uidmap.\nSetting up libsubid4 (1:4.17) ...\nE: the hook failed",
        "Unpacking proxychains4 (4.17) ...\nSetting up unshare-tools ...",
        "I: automatically chosen mode: unshare\nE: the hook failed with exit code 3",
        "",
    ],
)
def test_words_in_names_of_packages_do_not_count(said: str) -> None:
    assert hint_for(said) == ""
