"""
What keeps the invariants, taken away: one piece of the schema at a time.

Each is done to one test's database by SQL; the services stay as they are. The
checker that does not notice is worth nothing.
"""

from dataclasses import dataclass

# Whoever holds it keeps every binding write waiting between look-up and effect.
HOLD_LOCK = 4_711

# Both updates of a race have looked by then, whatever the machine is doing.
_SLOW_WRITES = """
CREATE FUNCTION slow_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(0.02);
    RETURN NEW;
END $$;
CREATE TRIGGER slow_write BEFORE UPDATE ON trips
    FOR EACH ROW WHEN (NEW.state = 'OFFERED' OR NEW.state = 'MATCHED')
    EXECUTE FUNCTION slow_write();
"""

HELD_WRITES = f"""
CREATE FUNCTION held_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared({HOLD_LOCK});
    RETURN NEW;
END $$;
CREATE TRIGGER held_write BEFORE UPDATE ON trips
    FOR EACH ROW WHEN (NEW.state = 'OFFERED' OR NEW.state = 'MATCHED')
    EXECUTE FUNCTION held_write();
"""


@dataclass(frozen=True)
class Mutation:
    """
    A piece taken away, and the invariant that falls without it.

    `sql` is for a race of many; `held_sql` for two writes that are held between
    look-up and effect.
    """

    invariant: str
    sql: str
    held_sql: str


NO_INDEX = Mutation(
    invariant="I1",
    sql=_SLOW_WRITES + "DROP INDEX trips_driver_live;",
    held_sql=HELD_WRITES + "DROP INDEX trips_driver_live;",
)


def _without_version(pause: str) -> str:
    # An update of a view finds its rows by the view and changes them by the
    # trigger, so that `version = $3` is judged before the write and not by it.
    # The history's key would notice the second one: it goes as well.
    return f"""
ALTER TABLE trip_events DROP CONSTRAINT trip_events_pkey;
ALTER TABLE trips RENAME TO all_trips;
CREATE VIEW trips AS SELECT * FROM all_trips;
CREATE FUNCTION write_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {pause}
    UPDATE all_trips SET version = NEW.version, move = NEW.move, state = NEW.state,
        driver_id = NEW.driver_id, offer_id = NEW.offer_id, end_reason = NEW.end_reason,
        offer_expires_at = NEW.offer_expires_at, updated_at = NEW.updated_at
    WHERE city_id = NEW.city_id AND trip_id = NEW.trip_id;
    RETURN NEW;
END $$;
CREATE TRIGGER write_over INSTEAD OF UPDATE ON trips
    FOR EACH ROW EXECUTE FUNCTION write_over();
"""


# Of many writes, it is the histories that show it; of two that are held, the
# two drivers who were both told that the trip is theirs.
NO_VERSION = Mutation(
    invariant="chain",
    sql=_without_version("PERFORM pg_sleep(0.02);"),
    held_sql=_without_version(f"PERFORM pg_advisory_xact_lock_shared({HOLD_LOCK});"),
)
NO_KEYS = Mutation(
    invariant="effects",
    sql="ALTER TABLE idempotency DROP CONSTRAINT idempotency_pkey;",
    held_sql="",
)
# An event is lost on its way, though its row and its answer are there.
NO_EVENT = Mutation(
    invariant="I3",
    sql="""
CREATE FUNCTION lose_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER lose_event BEFORE INSERT ON trip_events
    FOR EACH ROW WHEN (NEW.move = 'APPROACH') EXECUTE FUNCTION lose_event();
""",
    held_sql="",
)
# Whoever asks for the end of an offer is told of a later one.
NO_EXPIRY = Mutation(
    invariant="I4",
    sql="""
CREATE FUNCTION late_expiry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.offer_expires_at := NEW.offer_expires_at + interval '0.5 s';
    RETURN NEW;
END $$;
CREATE TRIGGER late_expiry BEFORE UPDATE ON trips
    FOR EACH ROW WHEN (NEW.state = 'OFFERED') EXECUTE FUNCTION late_expiry();
""",
    held_sql="",
)

MUTATIONS = {
    "no-unique-index": NO_INDEX,
    "no-version-condition": NO_VERSION,
    "no-idempotency-key": NO_KEYS,
    "lost-event": NO_EVENT,
    "late-expiry": NO_EXPIRY,
}
