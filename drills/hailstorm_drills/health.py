"""Whether the system answers its users: one real call through the edge, as JSON."""

import json
import urllib.error
import urllib.request
from typing import Final

PROBE_SECONDS: Final = 5.0
# Any place will do; an empty answer is an answer.
PROBE_PATH: Final = "/v1/cities/nyc/drivers:nearby?point.latitude=40.75&point.longitude=-73.99"


def edge_answers(edge: str) -> str | None:
    """None when the edge at host:port answers a call; otherwise what it said."""
    request = urllib.request.Request(f"http://{edge}{PROBE_PATH}")
    # No proxy: the edge is on this machine, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PROBE_SECONDS) as response:
            json.loads(response.read())
            return None
    except urllib.error.HTTPError as error:
        return f"the edge at {edge} answers {error.code}: {error.read()[:200]!r}"
    except (OSError, ValueError) as error:
        return f"the edge at {edge} does not answer: {error}"
