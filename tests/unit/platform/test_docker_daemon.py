"""Which daemon is used, and what ours is told."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from hailstorm_platform import docker_daemon
from hailstorm_platform.context import Context
from hailstorm_platform.docker_daemon import (
    Daemon,
    choose_daemon,
    needs_runc_wrapper,
    render_configuration,
)
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.host import lacks_sys_resource
from hailstorm_platform.paths import Paths

# /proc/self/status of a host without CAP_SYS_RESOURCE (bit 24), and of one with.
LACKING = "Name:\tx\nCapBnd:\t000001fffeffffff\n"
COMPLETE = "Name:\tx\nCapBnd:\t000001ffffffffff\n"


def choose(**facts: bool) -> Daemon:
    names = ("ours_answers", "system_answers", "is_root", "has_dockerd", "has_apt")
    return choose_daemon(**{name: facts.get(name, False) for name in names})


def test_daemon_that_we_started_is_preferred() -> None:
    assert choose(ours_answers=True, system_answers=True) is Daemon.OURS


def test_running_daemon_is_used_by_any_user() -> None:
    assert choose(system_answers=True) is Daemon.SYSTEM


def test_daemon_is_started_or_installed_by_root_only() -> None:
    assert choose(is_root=True, has_dockerd=True) is Daemon.START
    assert choose(is_root=True, has_apt=True) is Daemon.INSTALL
    with pytest.raises(PlatformError, match="run make as root"):
        choose(has_dockerd=True, has_apt=True)
    with pytest.raises(PlatformError, match="install Docker"):
        choose(is_root=True)


def test_bounding_set_shows_the_missing_capability() -> None:
    assert lacks_sys_resource(LACKING)
    assert not lacks_sys_resource(COMPLETE)
    assert not lacks_sys_resource("a kernel that does not say")


@pytest.mark.parametrize(
    ("version", "lacks", "expected"),
    [
        ("Docker version 20.10.24+dfsg1, build 5d6db84", True, True),
        ("Docker version 20.10.24+dfsg1, build 5d6db84", False, False),
        ("Docker version 23.0.1, build a5ee5b1", True, False),
        ("Docker version 28.2.2, build e6534b4", True, False),
    ],
)
def test_runc_is_wrapped_only_for_old_docker_on_a_host_with_the_gap(
    version: str, lacks: bool, expected: bool
) -> None:
    assert needs_runc_wrapper(version, lacks_sys_resource=lacks) is expected


def test_configuration_keeps_everything_under_home(tmp_path: Path) -> None:
    paths = Paths(root=Path("/r"), home=Path("/h"))
    plain = json.loads(render_configuration(paths, None))
    assert plain["data-root"] == "/h/docker"
    assert plain["hosts"] == ["unix:///h/run/docker/docker.sock"]
    assert "default-runtime" not in plain
    wrapped = json.loads(render_configuration(paths, Path("/w")))
    assert wrapped["runtimes"][wrapped["default-runtime"]] == {"path": "/w"}


def test_socket_moves_when_the_checkout_is_deep() -> None:
    deep = Paths(root=Path("/r"), home=Path("/" + "long/" * 20))
    other = Paths(root=Path("/r"), home=Path("/" + "longer/" * 20))
    assert len(str(deep.docker_run / "docker.sock")) < 50
    assert deep.docker_run != other.docker_run


def test_daemon_that_this_process_started_is_seen_to_end(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel names a process by its file, so that this one passes for a dockerd.
    program = tmp_path / "dockerd"
    shutil.copy(shutil.which("sleep") or "", program)
    context.paths.docker_run.mkdir(parents=True)
    monkeypatch.setattr(docker_daemon, "STOP_SECONDS", 5.0)
    # Not waited for: having ended, it is a zombie, as a daemon is whose starter lives.
    daemon = subprocess.Popen([program, "60"])
    (context.paths.docker_run / "dockerd.pid").write_text(f"{daemon.pid}\n")
    try:
        assert docker_daemon.stop_ours(context, is_used=lambda: False)
    finally:
        daemon.kill()
        daemon.wait()
