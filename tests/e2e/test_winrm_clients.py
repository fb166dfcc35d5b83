"""The guest's WinRM endpoint serves clients that are not ours: pypsrp (NTLM, encrypted) and Go's masterzen/winrm (over TLS)."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.image.manifest import load_credentials
from lab.image.store import find_image
from lab.live.guest import LiveGuest
from lab.vm.machine import VirtualMachine
from tests.e2e.forked import forked_guest

pytestmark = pytest.mark.e2e

CLIENTS = Path(__file__).parent / "winrm_clients"
FIVE_MB = 5_000_000
INPUT = random.Random(1).randbytes(300_000)

Ask = Callable[..., Mapping[str, Any]]


@pytest.fixture(scope="module")
def live_guest() -> Iterator[LiveGuest]:
    """One guest for all clients, with a file of 5 MB in it."""
    with forked_guest("winrm-clients") as guest:
        yield guest


@pytest.fixture(scope="module")
def big_file(live_guest: LiveGuest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Put 5 MB of lines into the guest; returns their SHA-256."""
    line = b"0123456789" * 9 + b"12345678\r\n"
    data = (line * (FIVE_MB // len(line) + 1))[:FIVE_MB]
    source = tmp_path_factory.mktemp("big") / "big.txt"
    source.write_bytes(data)
    live_guest.transport.put(source, "C:\\lab\\big.txt")
    return hashlib.sha256(data).hexdigest()


def run_client(argv: list[str], secret: Path, credentials_dir: Path, *arguments: str) -> Mapping[str, Any]:
    """Start a client program and return its output."""
    credentials = load_credentials(credentials_dir)
    secret.touch(mode=0o600)
    secret.write_text(credentials.password, encoding="utf-8")
    command = [*argv, "--user", credentials.username, "--password-file", str(secret), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["error"] == "", result["error"]
    return result


@pytest.fixture(scope="module")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go client, built without a network from Debian's packages (ci/packages-test.txt)."""
    program = tmp_path_factory.mktemp("go") / "goclient"
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOFLAGS": "",
        "GOCACHE": str(program.parent),
    }
    # Without modules Go takes no absolute path for a package.
    subprocess.run(["go", "build", "-o", str(program), "."], cwd=CLIENTS / "goclient", env=environment, check=True, timeout=600)
    return program


@pytest.fixture(params=["pypsrp", "go-basic-tls", "go-ntlm-tls"])
def ask(request: pytest.FixtureRequest, live_guest: LiveGuest, tmp_path: Path) -> Ask:
    """Run one command by one of the clients."""
    assert isinstance(live_guest.machine, VirtualMachine)
    ports = live_guest.machine.ports
    if request.param == "pypsrp":
        argv = [sys.executable, str(CLIENTS / "pypsrp_client.py"), "--port", str(ports[5985])]
    else:
        argv = [str(request.getfixturevalue("go_client")), "-port", str(ports[5986])]
        argv += ["-auth", "ntlm" if "ntlm" in request.param else "basic"]

    def one(command: str, *arguments: str) -> Mapping[str, Any]:
        return run_client(argv, tmp_path / "secret", find_image("wine"), "--command", command, *arguments)

    return one


def test_a_command_answers_and_its_exit_code_arrives(ask: Ask) -> None:
    result = ask("echo hello from the guest & exit 7")
    assert result["stdout"].split() == ["hello", "from", "the", "guest"]
    assert result["exit_code"] == 7


def test_five_megabytes_of_output_arrive_whole(ask: Ask, big_file: str) -> None:
    # Not type: Wine's needs two minutes for this, also into NUL; findstr gives the same bytes in seconds.
    result = ask("findstr 0123 C:\\lab\\big.txt")
    assert result["exit_code"] == 0
    assert result["stdout_bytes"] == FIVE_MB
    assert result["stdout_sha256"] == big_file


def test_an_input_stream_arrives_whole(ask: Ask, live_guest: LiveGuest, tmp_path: Path) -> None:
    source = tmp_path / "input.bin"
    source.write_bytes(INPUT)
    result = ask(f"{live_guest.manifest.tools_dir}\\labfile.exe put C:\\lab\\input.bin", "--stdin", str(source))
    assert result["exit_code"] == 0, result["stderr"]
    assert result["stdout"].split()[:2] == [hashlib.sha256(INPUT).hexdigest(), str(len(INPUT))]
