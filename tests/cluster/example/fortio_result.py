"""
The result of a fortio run, out of what its Job wrote.

The kubelet mixes a container's two streams line by line. On the second fortio has
its log and its words for people, so that a line of them may stand before, after
and in the middle of the result, whose own lines are indented but for the braces.
"""

import json
from typing import Any


def read_result(text: str) -> dict[str, Any]:
    """The document that `-json=-` wrote. AssertionError with the text when there is none."""
    kept = [line for line in text.splitlines() if line in ("{", "}") or line[:2] == "  "]
    decoder = json.JSONDecoder()
    for number, line in enumerate(kept):
        if line != "{":
            continue
        try:
            found, _ = decoder.raw_decode("\n".join(kept[number:]))
        except ValueError:
            continue
        if "RetCodes" in found:
            result: dict[str, Any] = found
            return result
    raise AssertionError(f"fortio wrote no result:\n{text}")
