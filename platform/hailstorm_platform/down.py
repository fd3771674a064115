"""
`make down`: nothing of ours stays, except what `make clean` would drop.
"""

import shutil

from hailstorm_platform import cluster, docker_daemon, firewall, node_images
from hailstorm_platform.commands import Commands
from hailstorm_platform.context import Context


def remove_cluster(context: Context, name: str) -> None:
    """Delete a cluster; with the last one go the network and the firewall rule."""
    image_file = context.paths.run / f"{name}.node-image"
    image = image_file.read_text() if image_file.exists() else ""
    cluster.down(context, name)
    if not cluster.names(context):
        firewall.open_again(context, image)


def is_used(context: Context) -> bool:
    """Whether any container still runs on the daemon in use."""
    return bool(context.runner.run(["docker", "ps", "--quiet"]).strip())


def stop_daemon(context: Context) -> None:
    """Stop the daemon that we started, unless another run of ours still uses it."""
    if not docker_daemon.ours_answers(context):
        return
    if not docker_daemon.stop_ours(context, lambda: is_used(context)):
        context.report.say("the Docker daemon stays: containers still run on it")


def run(context: Context, commands: Commands) -> None:
    """Remove both clusters, network, rule, run files and a daemon that we started."""
    paths = context.paths
    ours = docker_daemon.ours_answers(context)
    if ours:
        commands.environment["DOCKER_HOST"] = docker_daemon.our_address(paths)
    if ours or docker_daemon.answers(context, None):
        for wanted in (cluster.DEMO, cluster.TEST):
            remove_cluster(context, wanted.name)
        stray = node_images.preload_containers(context)
        if stray:
            context.runner.run(["docker", "rm", "--force", "--volumes", *stray])
        if ours:
            stop_daemon(context)
    if not docker_daemon.ours_answers(context):
        # A socket on which nobody answers is not a daemon; its folder goes too.
        shutil.rmtree(paths.docker_run, ignore_errors=True)
        shutil.rmtree(paths.run, ignore_errors=True)
    context.report.say("down: clusters, network, firewall rule and run files are gone")


def clean(context: Context, commands: Commands) -> None:
    """`down`, and everything that was built or downloaded as well."""
    run(context, commands)
    for folder in sorted(context.paths.home.glob("*")) if context.paths.home.exists() else []:
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink(missing_ok=True)
    context.report.say(f"clean: {context.paths.home} is empty")
