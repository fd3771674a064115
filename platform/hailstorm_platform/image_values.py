"""
The Helm values that tell both charts which images to run.

Written as JSON, which is YAML as well, so that the standard library is enough.
"""

import json
from collections.abc import Mapping


def render(tags: Mapping[str, str]) -> str:
    """
    `{"services": "hailstorm/services:0.1.0-ab12", …}` → a values file.

    The pull policy lets a node use what was loaded into it and nothing else
    would be found anywhere.
    """
    images: dict[str, object] = {"pullPolicy": "IfNotPresent"}
    for name, tag in tags.items():
        repository, _, version = tag.rpartition(":")
        images[name] = {"repository": repository, "tag": version}
    return json.dumps({"images": images}, indent=2) + "\n"
