from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.host.capacity import Capacity, measure

GIB = 1 << 30


class Machine:
    """A made-up /proc and /sys."""

    def __init__(self, root: Path, available_mb: int = 8192) -> None:
        self.root = root
        self.write("proc/meminfo", f"MemTotal: 99999999 kB\nMemAvailable: {available_mb << 10} kB\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_groups_the_host_is_the_limit(machine: Machine) -> None:
    assert measure(machine.root, affinity=4) == Capacity(4, 8192)


def test_a_version_2_group_limits_both(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/task/unit\n")
    machine.write("sys/fs/cgroup/task/unit/cpu.max", "150000 100000\n")
    machine.write("sys/fs/cgroup/task/unit/memory.max", f"{4 * GIB}\n")
    machine.write("sys/fs/cgroup/task/unit/memory.current", f"{2 * GIB}\n")
    machine.write("sys/fs/cgroup/task/unit/memory.stat", f"anon 1\ninactive_file {GIB}\n")
    # The limit of a parent counts as well.
    machine.write("sys/fs/cgroup/task/cpu.max", "max 100000\n")
    assert measure(machine.root, affinity=8) == Capacity(1.5, 3072)


def test_a_container_sees_its_limits_at_the_top(machine: Machine) -> None:
    """The path is the host's, and does not exist inside."""
    machine.write("proc/self/cgroup", "0::/../../docker/abc\n")
    machine.write("sys/fs/cgroup/cpu.max", "200000 100000\n")
    assert measure(machine.root, affinity=16).cores == 2


def test_version_1_groups(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "4:memory:/job\n3:cpuset:/\n2:cpu,cpuacct:/job\n1:name=systemd:/\n")
    machine.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "300000\n")
    machine.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n")
    machine.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", f"{2 * GIB}\n")
    machine.write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", f"{GIB}\n")
    machine.write("sys/fs/cgroup/memory/job/memory.stat", f"total_inactive_file {GIB // 2}\n")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", f"{GIB}\n")
    assert measure(machine.root, affinity=8) == Capacity(3, 1536)


def test_no_quota(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "1:cpu:/\n")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert measure(machine.root, affinity=8).cores == 8


def test_this_host_can_run_a_guest() -> None:
    here = measure()
    assert here.cores > 0
    assert here.memory_mb > 0
    assert here.guests(512) >= 1


@pytest.mark.parametrize(
    ("capacity", "smp", "guests"),
    [
        (Capacity(2, 24000), 1, 2),
        (Capacity(2, 24000), 2, 1),
        (Capacity(1.5, 24000), 1, 1),
        (Capacity(16, 4000), 1, 3),  # memory is what is scarce
        (Capacity(16, 100), 1, 1),  # one is tried anyway; QEMU reports if it fails
        (Capacity(0.5, 24000), 4, 1),
    ],
)
def test_guests(capacity: Capacity, smp: int, guests: int) -> None:
    assert capacity.guests(768, smp=smp) == guests


@pytest.mark.parametrize(
    ("capacity", "smp", "forks"),
    [
        (Capacity(2, 24000), 1, 6),
        (Capacity(2, 24000), 2, 1),  # more virtual CPUs than cores would wait for each other's locks
        (Capacity(8, 24000), 2, 4),
        (Capacity(3, 24000), 2, 1),
        (Capacity(1.5, 24000), 1, 4),
        (Capacity(2 / 3, 24000), 1, 2),  # a quota of two thirds of a core, in spite of rounding
        (Capacity(0.2, 24000), 1, 1),
        (Capacity(2, 3000), 1, 2),  # the template's RAM and half of it for each fork
        (Capacity(2, 100), 1, 1),
    ],
)
def test_forks(capacity: Capacity, smp: int, forks: int) -> None:
    assert capacity.forks(768, smp=smp) == forks


@pytest.mark.parametrize(
    ("capacity", "forks"),
    [
        (Capacity(2, 24000), 2),
        (Capacity(8, 24000), 8),
        (Capacity(1.5, 24000), 1),
        (Capacity(16, 3000), 2),
        (Capacity(0.2, 24000), 1),
    ],
)
def test_forks_with_a_virtual_clock_get_a_core_each(capacity: Capacity, forks: int) -> None:
    """They never wait: with one to six workers on two cores, the suites took 38, 42, 46 and 49 s."""
    assert capacity.forks(768, virtual_clock=True) == forks


@given(st.floats(0.1, 512), st.integers(0, 1 << 22), st.integers(64, 1 << 16), st.integers(1, 64))
def test_never_more_than_cores_or_memory_allow(cores: float, memory: int, guest: int, smp: int) -> None:
    guests = Capacity(cores, memory).guests(guest, smp=smp)
    assert guests == 1 or (guests * smp <= cores + 1e-3 and guests * guest < memory)


def test_memory_high_alone_is_a_limit(machine: Machine) -> None:
    """MemoryHigh= of systemd: beyond it the kernel slows the processes down instead of refusing."""
    machine.write("proc/self/cgroup", "0::/batch.slice/job.scope\n")
    machine.write("sys/fs/cgroup/batch.slice/job.scope/memory.max", "max\n")
    machine.write("sys/fs/cgroup/batch.slice/memory.max", "max\n")
    machine.write("sys/fs/cgroup/batch.slice/memory.high", f"{3 * GIB}\n")
    machine.write("sys/fs/cgroup/batch.slice/memory.current", f"{GIB}\n")
    assert measure(machine.root, affinity=4) == Capacity(4, 2048)


def test_a_group_without_usage_still_limits(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/\n")
    machine.write("sys/fs/cgroup/memory.max", f"{2 * GIB}\n")
    assert measure(machine.root, affinity=4).memory_mb == 2048


def test_page_cache_is_free_however_often_it_was_read(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/\n")
    machine.write("sys/fs/cgroup/memory.max", f"{4 * GIB}\n")
    machine.write("sys/fs/cgroup/memory.current", f"{4 * GIB}\n")
    machine.write("sys/fs/cgroup/memory.stat", f"anon {GIB}\nactive_file {2 * GIB}\ninactive_file {GIB}\n")
    assert measure(machine.root, affinity=4).memory_mb == 3072


@pytest.mark.parametrize(
    ("line", "file", "cpus"),
    [
        ("0::/ci", "ci/cpuset.cpus.effective", "0-1,6\n"),
        ("5:cpuset:/ci", "cpuset/ci/cpuset.effective_cpus", "0-2\n"),
        ("5:cpuset:/ci", "cpuset/ci/cpuset.cpus", "4,6,9\n"),
    ],
)
def test_a_set_of_cpus_limits_the_cores(machine: Machine, line: str, file: str, cpus: str) -> None:
    machine.write("proc/self/cgroup", line + "\n")
    machine.write(f"sys/fs/cgroup/{file}", cpus)
    assert measure(machine.root, affinity=8).cores == 3


def test_version_1_shows_the_limit_of_groups_outside_of_the_container(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "4:memory:/pods/one/box\n")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", f"{GIB}\n")
    machine.write("sys/fs/cgroup/memory/memory.stat", f"hierarchical_memory_limit {3 * GIB}\ntotal_inactive_file 0\n")
    assert measure(machine.root, affinity=8).memory_mb == 2048


def test_groups_are_searched_for_where_they_are_mounted(machine: Machine) -> None:
    """A container with the host's paths, one of whose groups is the process's own; its hierarchy is mounted from there on."""
    machine.write("proc/self/cgroup", "0::/engine/box7/inner\n")
    machine.write(
        "proc/self/mountinfo",
        "30 20 0:5 / /proc rw - proc proc rw\n31 20 0:28 /engine/box7 /mnt/c\\040groups ro shared:4 - cgroup2 cgroup2 rw\n",
    )
    machine.write("mnt/c groups/inner/memory.max", f"{2 * GIB}\n")
    machine.write("mnt/c groups/cpu.max", "250000 100000\n")
    assert measure(machine.root, affinity=8) == Capacity(2.5, 2048)


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=80))
def test_any_content_of_the_kernels_files_is_accepted(cgroup: bytes, mounts: bytes, value: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        group = machine.root / "sys/fs/cgroup"
        group.mkdir(parents=True)
        (machine.root / "proc/self").mkdir()
        (machine.root / "proc/self/cgroup").write_bytes(cgroup + b"\n0::/\n")
        (machine.root / "proc/self/mountinfo").write_bytes(mounts)
        for name in ("memory.max", "memory.current", "memory.stat", "cpu.max", "cpuset.cpus.effective"):
            (group / name).write_bytes(value)
        found = measure(machine.root, affinity=4)
    assert found.cores <= 4
    assert found.memory_mb <= 8192
