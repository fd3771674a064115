"""Puts a process's flags together: values, sources, and OpenFeature's border."""

from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.flags.config_map import ConfigMapSource, Place
from hailstorm.runtime.flags.feed import Feed
from hailstorm.runtime.flags.folder import FolderSource
from hailstorm.runtime.flags.live import LiveFlags
from hailstorm.runtime.flags.provider import register
from hailstorm.runtime.flags.values import Kind
from hailstorm.runtime.lifecycle import Lifecycle
from hailstorm.runtime.process import FlagSettings


def start_flags(
    settings: FlagSettings,
    kinds: Mapping[str, Kind],
    lifecycle: Lifecycle,
    clock: Clock,
    registry: CollectorRegistry,
) -> LiveFlags:
    """
    Flags that follow their sources until the process ends.

    What the folder says holds when this returns; the API server is not waited for.
    """
    flags = LiveFlags(kinds, registry)
    register(flags)
    feed = Feed(flags, registry)
    if settings.folder is not None:
        folder = FolderSource(settings.folder, feed, clock, settings.poll_seconds)
        folder.look()
        lifecycle.start_task("flags-folder", folder.follow)
    if settings.config_map is not None:
        place = Place(settings.api_server, settings.config_map, Path(settings.credentials))
        lifecycle.start_task("flags-config-map", ConfigMapSource(place, feed, clock).follow)
    return flags
