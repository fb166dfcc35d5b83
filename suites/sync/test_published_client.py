"""The published sync client against the documented run."""

from __future__ import annotations

import pytest

from lab.plugin.fixtures import Client
from lab.prints.stream import PrintStream

pytestmark = pytest.mark.lab_driver("sync")


def test_the_published_client_prints_the_documented_five_lines(client: Client, prints: PrintStream) -> None:
    run = client("sync_reader").check()
    assert run.text.splitlines() == [f"读入数据: hi, lyshark {c} -> 读取长度: 20" for c in "ABCDE"]
    prints.expect(["读字节长度: 20"] * 5)
    prints.expect_none()


@pytest.mark.lab_driver("sync", reload=False)
def test_a_second_run_of_the_published_client_still_reads_twenty_bytes_five_times(client: Client, prints: PrintStream) -> None:
    client("sync_reader").check()
    again = client("sync_reader").check()
    assert [line.rpartition(" -> ")[2] for line in again.text.splitlines()] == ["读取长度: 20"] * 5
    prints.expect(["读字节长度: 20"] * 10)


@pytest.mark.lab_driver("sync", reload=False)
@pytest.mark.lab_needs("direct_io")
def test_a_second_run_of_the_published_client_finds_its_buffer_untouched(client: Client) -> None:
    client("sync_reader").check()
    again = client("sync_reader").check()
    assert again.text.splitlines() == ["读入数据:  -> 读取长度: 20"] * 5
