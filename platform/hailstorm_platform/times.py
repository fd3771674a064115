"""
How long a whole command took, and each step of it, for whoever quotes a time.
"""

import json
import os
import time
from pathlib import Path

from hailstorm_platform.context import Context


def write(context: Context, command: str) -> Path:
    """
    Write `times-<command>.json` beside the reports; returns its path.

    `steps` names what had to be made: builds are in it on a machine that has never
    seen the project, and missing on one that has. Steps run side by side.
    """
    path = context.paths.reports / f"times-{command}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "command": f"make {command}",
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count()},
        "seconds": round(context.report.elapsed, 1),
        "steps": {name: round(took, 1) for name, took in context.report.durations.items()},
    }
    path.write_text(json.dumps(figures, indent=2) + "\n")
    return path
