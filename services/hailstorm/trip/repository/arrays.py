"""
Arrays of arguments, as the text that Postgres reads them from.

Of all arrays asyncpg knows only text[] by itself. For any other it asks the catalogue on
each new connection, in a recursive query: milliseconds on an idle core, and more than a
second on a full one. That is longer than a statement may take, so the connection was given
up for another, which had to ask again, and a Postgres that was full stayed so
(docs/decisions/a-full-core-and-postgres.md). So statements say `$1::text[]::bigint[]`.
"""

import datetime as dt
from collections.abc import Iterable


def texts(values: Iterable[str | int | dt.datetime | bytes | None]) -> list[str | None]:
    """The values as elements of a text[]; None is NULL. A datetime has to be aware."""
    return [value if value is None or isinstance(value, str) else _text(value) for value in values]


def _text(value: int | dt.datetime | bytes) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, int):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no text that Postgres would read")
