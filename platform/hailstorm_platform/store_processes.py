"""
Real Redis and Postgres as child processes, on free ports, gone afterwards.

For the integration tests and the benchmarks. A missing program is an error that
says what to install: what was asked for and cannot run must not pass. Both
servers keep their port over a restart, because what clients do when a store
comes back is what many tests are about.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hailstorm_platform.child_processes import (
    as_user,
    children_of,
    is_alive,
    state_of,
    unprivileged_user,
)

# Both start within 0.2 s on an idle machine; the rest is for a busy one.
START_SECONDS: Final = 30.0
# Below lie the well-known ones; Linux' own ends begin at 32768.
_FIRST_PORT: Final = 10_000
_OWN_ENDS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Not a secret: the server it opens lives for one test run, on the loopback.
PASSWORD: Final = "only-for-tests"

_given: Final[set[int]] = set()


def free_port() -> int:
    """
    A TCP port of the loopback that nobody listens on now.

    It is none that the kernel gives to connections as their own end: while a
    server that is to come back on its port is down, any connection could get it,
    and one that tries that very port even connects to itself. Both were rare, and
    both made the next start fail with "address already in use". Nor is it one that it has
    given before: eight for a Redis Cluster are asked for before the first is taken.
    """
    for port in _randomly(range(_FIRST_PORT, _first_own_end())):
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise RuntimeError("no port is free")


def _first_own_end() -> int:
    """The least port that the kernel gives to a connection as its own end."""
    return int(_OWN_ENDS.read_text().split()[0])


def _randomly(ports: range) -> Iterator[int]:
    # Other runs look at the same time: whoever begins at the same place collides.
    yield from random.SystemRandom().sample(ports, len(ports))


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Ask until it is so; AssertionError after START_SECONDS."""
    end = time.monotonic() + START_SECONDS
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {START_SECONDS} s")
        time.sleep(0.02)


class RedisServer:
    """One redis-server, as the chart configures it."""

    host: Final = "127.0.0.1"
    password: Final = PASSWORD

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="hailstorm-redis-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return when it answers. Also after `kill`."""
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("no redis-server; install the package redis-server")
        arguments = ("--bind", self.host, "--port", str(self.port), "--dir", str(self._folder))
        memory = ("--maxmemory", "512mb", "--maxmemory-policy", "allkeys-lru")
        durable = ("--save", "", "--appendonly", "no", "--requirepass", self.password)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                (program, *arguments, *memory, *durable, *self._options), stdout=log, stderr=log
            )
        wait_until(self._answers, "redis answers")

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            log = (self._folder / "log").read_text(errors="replace")
            raise AssertionError(f"redis ended with {self._process.returncode}: {log[-500:]}")
        return self.command("PING") == b"+PONG"

    @property
    def pid(self) -> int:
        assert self._process is not None, "redis is not running"
        return self._process.pid

    def command(self, *words: str) -> bytes:
        """The first line of the answer to one command; b"" when nobody answers."""
        request = b"".join(
            b"*%d\r\n" % len(each) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in each)
            for each in ([b"AUTH", self.password.encode()], [word.encode() for word in words])
        )
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as connection:
                connection.sendall(request)
                with connection.makefile("rb") as answers:
                    answers.readline()
                    return answers.readline().rstrip()
        except OSError:
            return b""

    def kill(self) -> None:
        """End it as a power cut would, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it from running; connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """End it and delete what it left."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "redis is not running"
        self._process.send_signal(number)


@dataclass(frozen=True)
class Database:
    """How to reach one database; the words are those of the settings."""

    host: str
    port: int
    database: str
    user: str
    password: str

    @property
    def dsn(self) -> str:
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a service at it."""
        return {
            "HAILSTORM_POSTGRES_HOST": self.host,
            "HAILSTORM_POSTGRES_PORT": str(self.port),
            "HAILSTORM_POSTGRES_DATABASE": self.database,
            "HAILSTORM_POSTGRES_USER": self.user,
            "HAILSTORM_POSTGRES_PASSWORD": self.password,
        }


class PostgresServer:
    """One Postgres cluster with a superuser called hailstorm."""

    host: Final = "127.0.0.1"
    user: Final = "hailstorm"
    password: Final = PASSWORD

    def __init__(self, **options: str) -> None:
        """`options` are settings of postgresql.conf, which win over those of `start`."""
        self.port = free_port()
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="hailstorm-postgres-"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        # Postgres refuses to run as root.
        self._owner = unprivileged_user() if os.geteuid() == 0 else None
        if self._owner is not None:
            os.chown(self._folder, self._owner, -1)

    @property
    def pid(self) -> int:
        """The process whose children are the backends."""
        assert self._process is not None, "postgres is not running"
        return self._process.pid

    @property
    def maintenance(self) -> Database:
        """The database that always exists, for creating others."""
        return Database(self.host, self.port, "postgres", self.user, self.password)

    def database(self, name: str) -> Database:
        """How to reach the database called `name`, which need not exist."""
        return replace(self.maintenance, database=name)

    def start(self) -> None:
        """Start, and return when it accepts connections. Also after `kill`."""
        if not self._data.exists():
            self._initialise()
        options = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            # What a killed process wrote is safe without it; only a power cut is not.
            "fsync": "off",
            # The judge of what was bound before what (tests of races).
            "track_commit_timestamp": "on",
            **self._options,
        }
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                as_user(self._owner, postgres_program("postgres"), "-D", str(self._data), *flags),
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )
        wait_until(self._is_ready, "postgres accepts connections")

    def kill(self) -> None:
        """End it and its children at once, and wait until they are gone."""
        if self._process is not None:
            # One that outlives the server holds on to its shared memory, and the
            # next start is refused. A server that stands still makes no more of them.
            backends = self._stop_forking()
            self._signal_group(signal.SIGKILL)
            self._process.wait()
            wait_until(lambda: not any(map(is_alive, backends)), "postgres is gone")
            self._process = None

    def freeze(self) -> None:
        """Stop it and its children from running; connections stay open."""
        self._stop_forking()
        self._signal_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them run again."""
        self._signal_group(signal.SIGCONT)

    def remove(self) -> None:
        """End it and delete what it left."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stop_forking(self) -> tuple[int, ...]:
        """Stop the server itself; the children that it has, and to which none is added."""
        pid = self.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        # The signal is sent at once and obeyed when a fork under way is over.
        wait_until(lambda: state_of(pid) in "TZ", "postgres stands still")
        return tuple(children_of(pid))

    def _signal_group(self, number: signal.Signals) -> None:
        assert self._process is not None, "postgres is not running"
        # Each backend is a process, and each made a session of its own.
        for pid in (self._process.pid, *children_of(self._process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _initialise(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        arguments = ("-D", str(self._data), "-U", self.user, "-E", "UTF8", "--locale=C")
        secured = ("--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync")
        subprocess.run(
            as_user(self._owner, postgres_program("initdb"), *arguments, *secured),
            check=True,
            capture_output=True,
            cwd=self._folder,
        )

    def _is_ready(self) -> bool:
        assert self._process is not None, "postgres is not running"
        code = self._process.poll()
        if code is not None:
            said = (self._folder / "log").read_text()[-2000:]
            raise AssertionError(f"postgres ended with {code} before it was ready:\n{said}")
        arguments = ("-h", self.host, "-p", str(self.port), "-q", "-t", "1")
        return subprocess.run((postgres_program("pg_isready"), *arguments)).returncode == 0


def postgres_program(name: str) -> str:
    """The path of a program of Postgres. RuntimeError when there is none."""
    # Debian keeps the server's programs out of PATH, one folder a version.
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / name).exists():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"no {name}; install the package postgresql")
    return found
