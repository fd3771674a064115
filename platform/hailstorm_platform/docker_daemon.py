"""
A Docker daemon: the one that runs, or one of our own.

A daemon that we start lives wholly under `.hailstorm/`: its data, its socket,
its process id. Only such a daemon is ever stopped by us, and only when no other
run of this checkout still uses it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

from hailstorm_platform import apt, host
from hailstorm_platform.commands import Commands
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.inputs import locked
from hailstorm_platform.paths import Paths

# Seen: 1 s on an idle machine; 60 s leaves room for a loaded one.
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
# A daemon that answers at all answers within a second; a hung one never does.
ANSWER_SECONDS: Final = 20.0


class Daemon(Enum):
    """Where the Docker daemon comes from."""

    OURS = "the daemon that we started earlier"
    SYSTEM = "the daemon that runs on this machine"
    START = "a daemon of our own"
    INSTALL = "a daemon of our own, after installing it"


def choose_daemon(
    *, ours_answers: bool, system_answers: bool, is_root: bool, has_dockerd: bool, has_apt: bool
) -> Daemon:
    """Which daemon to use; raises one sentence when there is no way to have one."""
    if ours_answers:
        return Daemon.OURS
    if system_answers:
        return Daemon.SYSTEM
    if not is_root:
        raise PlatformError(
            "No Docker daemon answers: start Docker, or run make as root so that it can start one."
        )
    if has_dockerd:
        return Daemon.START
    if has_apt:
        return Daemon.INSTALL
    raise PlatformError("No Docker daemon answers and there is no apt-get here: install Docker.")


def needs_runc_wrapper(docker_version: str, *, lacks_sys_resource: bool) -> bool:
    """
    Whether runc must be kept from asking for CAP_SYS_RESOURCE.

    Docker before 23 gives privileged containers every capability that exists,
    also those which this host cannot give, and runc then fails.
    """
    match = re.search(r"(\d+)\.\d+", docker_version)
    return lacks_sys_resource and match is not None and int(match[1]) < 23


def render_configuration(paths: Paths, wrapper: Path | None) -> str:
    """The daemon's configuration file; with `wrapper` as its default runtime."""
    run = paths.docker_run
    configuration: dict[str, object] = {
        "data-root": str(paths.docker_data),
        "exec-root": str(run / "exec"),
        "pidfile": str(run / "dockerd.pid"),
        "hosts": [f"unix://{run / 'docker.sock'}"],
        "log-level": "warn",
        "log-opts": {"max-size": "10m", "max-file": "2"},
    }
    if wrapper is not None:
        configuration["default-runtime"] = "hailstorm-runc"
        configuration["runtimes"] = {"hailstorm-runc": {"path": str(wrapper)}}
    return json.dumps(configuration, indent=1) + "\n"


def our_address(paths: Paths) -> str:
    """DOCKER_HOST of a daemon that we started."""
    return f"unix://{paths.docker_run / 'docker.sock'}"


def answers(context: Context, address: str | None) -> bool:
    """Whether a daemon answers at `address`, or at the client's own default."""
    environment = {"DOCKER_HOST": address} if address else {}
    try:
        context.runner.run(
            ["docker", "info", "--format", "{{.ServerVersion}}"],
            env=environment,
            timeout=ANSWER_SECONDS,
        )
    except PlatformError:
        return False
    return True


def ours_answers(context: Context) -> bool:
    """Whether the daemon that we started is alive."""
    socket = context.paths.docker_run / "docker.sock"
    return socket.exists() and answers(context, our_address(context.paths))


def connect(context: Context, commands: Commands) -> Daemon:
    """
    Make `docker` work for every later command, starting a daemon if need be.

    Sets DOCKER_HOST in the runner's environment. Safe to repeat.
    """
    with locked(context.paths.run / "docker.lock"):
        choice = choose_daemon(
            ours_answers=ours_answers(context),
            system_answers=answers(context, None),
            is_root=host.is_root(),
            has_dockerd=shutil.which("dockerd") is not None,
            has_apt=host.has_apt(),
        )
        context.report.say(f"docker: {choice.value}")
        if choice is Daemon.INSTALL:
            apt.install(context, ["docker.io", "iptables"], "a Docker daemon")
        if choice in (Daemon.INSTALL, Daemon.START):
            with context.report.step("start a Docker daemon under .hailstorm/"):
                _start(context)
        if choice is not Daemon.SYSTEM:
            commands.environment["DOCKER_HOST"] = our_address(context.paths)
    return choice


def _start(context: Context) -> None:
    paths = context.paths
    if host.is_memory_disk(Path("/proc/mounts").read_text(), paths.docker_data):
        raise PlatformError(
            f"{paths.docker_data} lies in memory; set HAILSTORM_HOME to a folder on a disk."
        )
    paths.docker_run.mkdir(parents=True, exist_ok=True)
    paths.docker_data.mkdir(parents=True, exist_ok=True)
    version = context.runner.run(["dockerd", "--version"])
    wrapper = None
    if needs_runc_wrapper(version, lacks_sys_resource=host.lacks_sys_resource()):
        wrapper = Path(__file__).parent / "files" / "runc-without-sys-resource"
    configuration = paths.docker_run / "dockerd.json"
    configuration.write_text(render_configuration(paths, wrapper))
    log = context.log("dockerd")
    # Of a session of its own, so that neither Ctrl-C nor a closed terminal ends
    # the daemon below a running cluster.
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["dockerd", "--config-file", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not ours_answers(context):
        if process.poll() is not None or time.monotonic() > deadline:
            raise PlatformError(f"The Docker daemon did not come up; {log} says why.")
        time.sleep(0.5)


def stop_ours(context: Context, is_used: Callable[[], bool]) -> bool:
    """
    Stop the daemon that we started, unless `is_used` says that somebody needs it.

    Returns whether it is gone. Does nothing to any other daemon.
    """
    pid_file = context.paths.docker_run / "dockerd.pid"
    with locked(context.paths.run / "docker.lock"):
        if not pid_file.exists():
            return True
        if is_used():
            return False
        pid = int(pid_file.read_text().strip() or "0")
        if not _is_dockerd(pid):
            return True
        with context.report.step("stop the Docker daemon that we started"):
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while _is_dockerd(pid):
                if time.monotonic() > deadline:
                    raise PlatformError(f"The Docker daemon (process {pid}) does not stop.")
                time.sleep(0.2)
    return True


def _is_dockerd(pid: int) -> bool:
    # A process id may have been given to another program since; and a daemon that
    # has ended stays listed as a zombie until its parent, often this very process,
    # asks for its exit code.
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    name, _, rest = stat.partition("(")[2].rpartition(")")
    return name == "dockerd" and rest.split()[0] not in ("Z", "X")
