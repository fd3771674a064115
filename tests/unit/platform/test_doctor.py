"""What blocks, and that each blocking finding says what to do."""

from pathlib import Path

import pytest

from hailstorm_platform import doctor, host
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.go_tools import parse_go_version

MOUNTS = "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\ntmpfs /a\\040b tmpfs rw 0 0\n"


def test_python_blocks_when_it_is_too_old() -> None:
    assert doctor.judge_python((3, 10, 9)).blocks
    assert not doctor.judge_python((3, 11, 0)).blocks
    assert not doctor.judge_python((3, 14, 1)).blocks


def test_disk_blocks_when_it_is_small_or_memory() -> None:
    assert doctor.judge_disk(3.0, Path("/x"), in_memory=False).blocks
    assert doctor.judge_disk(300.0, Path("/x"), in_memory=True).blocks
    assert not doctor.judge_disk(300.0, Path("/x"), in_memory=False).blocks


def test_memory_warns_and_never_blocks() -> None:
    assert "may be killed" in doctor.judge_memory(2.0).text
    assert not doctor.judge_memory(2.0).blocks


def test_port_blocks_only_when_a_stranger_has_it() -> None:
    assert doctor.judge_port(18080, is_free=False, is_ours=False).blocks
    assert not doctor.judge_port(18080, is_free=False, is_ours=True).blocks
    assert not doctor.judge_port(18080, is_free=True, is_ours=False).blocks


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/home/x", False), ("/dev/shm/x", True), ("/dev/shmx", False), ("/a b/c", True)],
)
def test_memory_disk_is_found_by_the_longest_mount(path: str, expected: bool) -> None:
    assert host.is_memory_disk(MOUNTS, Path(path)) is expected


def test_memory_is_read_in_gib() -> None:
    assert host.parse_memory_gib("MemTotal: 1 kB\nMemAvailable:    8388608 kB\n") == 8.0
    assert host.parse_memory_gib("") == 0.0


def test_go_version_is_compared_as_numbers() -> None:
    assert parse_go_version("go version go1.9.2 linux/amd64") < (1, 24)
    assert parse_go_version("go version go1.24rc1 linux/amd64") == (1, 24)
    with pytest.raises(PlatformError, match="install Go"):
        parse_go_version("gccgo")
