"""
Migrations only add: the version before the newest goes on while they run, and after.

What is allowed is listed, since what hurts is endless. A statement that needs
more than that is written a release after the last code that it would break.
"""

import re

import pytest

from hailstorm.trip.repository.migrate import Migration, load_migrations

_COMMENT = re.compile(r"--[^\n]*")
_BODY = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
_NAME = r"(?P<table>[a-z_]+)"
_TABLE = re.compile(rf"CREATE (UNLOGGED )?TABLE {_NAME} ?\(")
_INDEX = re.compile(rf"CREATE (UNIQUE )?INDEX [a-z_]+ ON {_NAME}\b")
_TRIGGER = re.compile(rf"CREATE TRIGGER .* ON {_NAME} FOR EACH")
_FREE = re.compile(r"CREATE FUNCTION |COMMENT ON ")
_COLUMN = re.compile(rf"ALTER TABLE {_NAME} ADD COLUMN [a-z_]+ (?P<rest>[^,()]*)")
# A default that is the same for all rows is kept once; any other rewrites the table.
_CONSTANT = re.compile(r"DEFAULT ('[^']*'|-?[0-9.]+|true|false|NULL)(::[a-z]+)?", re.IGNORECASE)


def statements(sql: str) -> list[str]:
    """The statements of a file, in one line each, without comments and bodies."""
    bare = _BODY.sub("$$", _COMMENT.sub("", sql))
    return [" ".join(each.split()) for each in bare.split(";") if each.strip()]


def problems(migration: Migration) -> list[str]:
    """The statements that could hurt code of the version before."""
    new: set[str] = set()
    found = []
    for statement in statements(migration.sql):
        if made := _TABLE.match(statement):
            new.add(made["table"])
            continue
        on_new = _INDEX.match(statement) or _TRIGGER.match(statement)
        column = _COLUMN.fullmatch(statement)
        is_fine = (
            _FREE.match(statement) is not None
            # On a table in use, an index refuses rows or at least makes writers
            # wait until it is built, and a trigger changes what they mean.
            or (on_new is not None and on_new["table"] in new)
            or (column is not None and _is_harmless(column["rest"].upper()))
        )
        if not is_fine:
            found.append(statement)
    return found


def _is_harmless(column: str) -> bool:
    words = set(column.split())
    if words & {"UNIQUE", "PRIMARY", "CHECK", "REFERENCES", "GENERATED"}:
        return False
    if "DEFAULT" in words:
        return _CONSTANT.search(column) is not None
    return "NOT NULL" not in column


@pytest.mark.parametrize("migration", load_migrations(), ids=lambda each: each.name)
def test_migration_only_adds(migration: Migration) -> None:
    assert statements(migration.sql)
    assert problems(migration) == []


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE trips",
        "DROP INDEX trips_by_rider",
        "ALTER TABLE trips DROP COLUMN quote_id",
        "ALTER TABLE trips RENAME COLUMN quote_id TO quote",
        "ALTER TABLE trips RENAME TO rides",
        "ALTER TABLE trips ALTER COLUMN version TYPE integer",
        "ALTER TABLE trips ALTER COLUMN quote_id SET NOT NULL",
        "ALTER TABLE trips ADD COLUMN fare bigint NOT NULL",
        "ALTER TABLE trips ADD COLUMN fare bigint NOT NULL DEFAULT random()",
        "ALTER TABLE trips ADD COLUMN fare bigint UNIQUE",
        "ALTER TABLE trips ADD COLUMN fare bigint, DROP COLUMN quote_id",
        "ALTER TABLE trips ADD CONSTRAINT few CHECK (version < 10)",
        "CREATE UNIQUE INDEX one ON trips (city_id, rider_id)",
        "CREATE INDEX slow ON trips (city_id)",
        "CREATE TRIGGER surprise BEFORE INSERT ON trips FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE OR REPLACE FUNCTION trip_events_refuse_change() RETURNS trigger AS 'x'",
        "UPDATE trips SET surge_multiplier = 1",
        "TRUNCATE trip_events",
        "REVOKE INSERT ON trips FROM PUBLIC",
    ],
)
def test_statement_that_would_hurt_is_found(statement: str) -> None:
    harmless = "CREATE TABLE fares (city_id text); -- DROP TABLE trips\n"
    assert problems(Migration(9, "bad", f"{harmless}{statement};")) == [statement]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE trips ADD COLUMN fare bigint",
        "ALTER TABLE trips ADD COLUMN fare bigint NOT NULL DEFAULT 0",
        "ALTER TABLE trips ADD COLUMN tier text NOT NULL DEFAULT 'basic'",
        "CREATE TABLE fares (city_id text); CREATE UNIQUE INDEX f ON fares (city_id)",
    ],
)
def test_addition_is_fine(statement: str) -> None:
    assert problems(Migration(9, "good", statement)) == []
