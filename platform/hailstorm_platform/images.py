"""
Every image that a cluster needs, made or pulled, and written down for Helm.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hailstorm_platform import app_images, base_images, external_images, node_image
from hailstorm_platform.context import Context
from hailstorm_platform.registry import Source


@dataclass(frozen=True)
class Images:
    """Tags: the node's, the Python base's, and those that pods run."""

    node: str
    python: str
    external: dict[str, str]
    source: Source


def platform_images(context: Context, source: Source) -> Images:
    """
    The node image and everything that is not ours.

    The stores' images install packages while Go compiles: one waits for the
    network, the other for the processor.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        compiled = pool.submit(node_image.compile_parts, context, source)
        python = base_images.python(context, source)
        external = {
            "envoy": external_images.envoy(context, source),
            "postgres": external_images.postgres(context, source),
            "redis": external_images.redis(context, source),
        }
        compiled.result()
    node = node_image.find(context, source, [python, *external.values()])
    return Images(node, python, external, source)


def app_tags(context: Context, images: Images, version: str) -> dict[str, str]:
    """Our own images at `version` together with the external ones."""
    return {**app_images.build(context, images.python, version), **images.external}
