"""
Redis and Postgres as plain programs on the host, for the integration tests.

The tests start them as child processes; no service of the host is used or
started. Debian keeps Postgres' server programs outside PATH.
"""

import shutil
from pathlib import Path
from typing import Final

from hailstorm_platform import apt
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError

_POSTGRES_HOMES: Final = Path("/usr/lib/postgresql")


def postgres_folder(homes: Path = _POSTGRES_HOMES) -> Path | None:
    """The folder with `postgres` and `initdb`, of the newest version there is."""
    found = shutil.which("postgres")
    if found and shutil.which("initdb"):
        return Path(found).parent
    versions = [path for path in homes.glob("*/bin") if (path / "initdb").exists()]
    return max(versions, key=lambda path: float(path.parent.name), default=None)


def ensure(context: Context) -> None:
    """Install what is missing; raises one sentence where that is not possible."""
    missing = []
    if shutil.which("redis-server") is None:
        missing.append("redis-server")
    if postgres_folder() is None:
        missing.append("postgresql")
    if missing:
        apt.install(context, missing, "tests/integration")
    if shutil.which("redis-server") is None or postgres_folder() is None:
        raise PlatformError("redis-server or postgres is still not found after installing it.")
