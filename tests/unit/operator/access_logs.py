"""The messages that an Envoy of the chart has really sent (contract/charts/capture_access_logs)."""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hailstorm_operator.recorder.lines import Line, read_lines
from hailstorm_operator.recorder.messages import Message

CAPTURE = Path(__file__).parent / "envoy-access-logs.jsonl.gz"


def messages() -> Iterator[tuple[str, Any]]:
    """Each message with the name of its log."""
    with gzip.open(CAPTURE, "rt") as file:
        for text in file:
            line = json.loads(text)
            yield line["log"], Message.FromString(base64.b64decode(line["data"]))


def lines(log: str) -> list[Line]:
    """The lines of one log."""
    return [line for name, message in messages() if name == log for line in read_lines(message)]
