from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lab.vm.usernet import parse_forwards

#: What QEMU 7.2 prints while a client is connected to the second port.
SEEN = """Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[ESTABLISHED]   15       127.0.0.1 50934       10.0.2.15  5985     0     0
  TCP[HOST_FORWARD]  11       127.0.0.1 40101       10.0.2.15    22     0     0
  TCP[HOST_FORWARD]  10       127.0.0.1 42221       10.0.2.15  5985     0     0
  UDP[236 sec]       13       10.0.2.15    68       10.0.2.255   67     0     0
"""

PORT = st.integers(1, 65535)


def test_forwards_are_found_among_connections() -> None:
    assert parse_forwards(SEEN) == {22: 40101, 5985: 42221}


@given(st.dictionaries(PORT, PORT, max_size=5), st.integers(0, 9999))
def test_any_forwards_are_found(forwards: dict[int, int], fd: int) -> None:
    lines = [f"  TCP[HOST_FORWARD]  {fd} {'127.0.0.1':>15} {host:5d} {'10.0.2.15':>15} {guest:5d} {0:5d} {0:5d}"
             for guest, host in forwards.items()]  # fmt: skip
    assert parse_forwards("\r\n".join(["Hub -1 (net0):", *lines, ""])) == forwards


@given(st.text())
def test_other_text_has_no_forwards(text: str) -> None:
    assert parse_forwards(text.replace("HOST_FORWARD", "")) == {}
