"""
Logs as JSON lines on stdout: ts, level, logger, message, and what the record adds.

The same words as the services' logs, so that one query finds both. kopf hangs
the object it works on onto its records; namespace and name are passed on.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; an exception becomes one string with its traceback."""
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "service": self._service,
            "version": os.environ.get("HAILSTORM_VERSION", ""),
            "pod": os.environ.get("HOSTNAME", ""),
        }
        about = getattr(record, "k8s_ref", None)
        if isinstance(about, dict):
            line |= {key: about[key] for key in ("kind", "namespace", "name") if about.get(key)}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logs(level: str, service: str = "operator") -> None:
    """Send every log line of the process to stdout in this form."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They speak at info about every request or event.
    for noisy in ("aiohttp.access", "asyncio", "kopf.objects", "kopf.activities"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
