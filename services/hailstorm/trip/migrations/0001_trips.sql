-- Trips, their history, and the answers that were given.
--
-- Every key and unique constraint contains city_id, so that the tables can be
-- distributed by it. States are words, since people audit by SQL after a drill.

CREATE TABLE trips (
    city_id           text             NOT NULL,
    trip_id           text             NOT NULL,
    rider_id          text             NOT NULL,
    pickup_latitude   double precision NOT NULL,
    pickup_longitude  double precision NOT NULL,
    dropoff_latitude  double precision NOT NULL,
    dropoff_longitude double precision NOT NULL,
    surge_multiplier  double precision NOT NULL,
    quote_id          text,
    requested_at      timestamptz      NOT NULL,
    -- What changes from here on; trip_events keeps a copy of each version.
    version           bigint           NOT NULL,
    move              text             NOT NULL,
    state             text             NOT NULL,
    driver_id         text,
    offer_id          text,
    offer_expires_at  timestamptz,
    end_reason        text,
    updated_at        timestamptz      NOT NULL,
    CONSTRAINT trips_pkey PRIMARY KEY (city_id, trip_id),
    CONSTRAINT trips_state_known CHECK (state IN (
        'REQUESTED', 'OFFERED', 'MATCHED', 'ARRIVING', 'IN_PROGRESS',
        'COMPLETED', 'CANCELLED', 'UNFULFILLED')),
    CONSTRAINT trips_version_positive CHECK (version >= 1),
    -- Without a driver the index below would judge nothing.
    CONSTRAINT trips_live_has_driver CHECK (
        driver_id IS NOT NULL
        OR state NOT IN ('OFFERED', 'MATCHED', 'ARRIVING', 'IN_PROGRESS', 'COMPLETED')),
    CONSTRAINT trips_unbound_has_no_driver CHECK (
        driver_id IS NULL OR state NOT IN ('REQUESTED', 'UNFULFILLED')),
    -- Every offer expires (I4), so it says when.
    CONSTRAINT trips_offer_complete CHECK (
        (state = 'OFFERED') = (offer_id IS NOT NULL)
        AND (state = 'OFFERED') = (offer_expires_at IS NOT NULL))
)
-- A trip is rewritten some five times; the room keeps it on its page.
WITH (fillfactor = 80);

-- The judge of I1: a driver has at most one live offer or trip. No code that
-- forgets to look can get past it.
CREATE UNIQUE INDEX trips_driver_live ON trips (city_id, driver_id)
    WHERE state IN ('OFFERED', 'MATCHED', 'ARRIVING', 'IN_PROGRESS');

CREATE INDEX trips_by_rider ON trips (city_id, rider_id, requested_at DESC, trip_id DESC);
CREATE INDEX trips_by_driver ON trips (city_id, driver_id, requested_at DESC, trip_id DESC)
    WHERE driver_id IS NOT NULL;
-- For the sweeper. Both hold only what is still open, however long the history.
CREATE INDEX trips_offer_expiry ON trips (offer_expires_at) WHERE state = 'OFFERED';
CREATE INDEX trips_unanswered ON trips (requested_at) WHERE state = 'REQUESTED';
-- For counting the requests of the last minute. New rows come at its right end.
CREATE INDEX trips_requested ON trips (requested_at);

CREATE TABLE trip_events (
    city_id          text        NOT NULL,
    trip_id          text        NOT NULL,
    version          bigint      NOT NULL,
    move             text        NOT NULL,
    state            text        NOT NULL,
    driver_id        text,
    offer_id         text,
    offer_expires_at timestamptz,
    end_reason       text,
    occurred_at      timestamptz NOT NULL,
    -- Set by whoever relays the history to others; the only thing that changes.
    published_at     timestamptz,
    CONSTRAINT trip_events_pkey PRIMARY KEY (city_id, trip_id, version)
);

-- A relay takes what is unpublished, per trip in order of version. It must not
-- page by a counter: counters are drawn before the commit, and rows appear late.
CREATE INDEX trip_events_unpublished ON trip_events (occurred_at) WHERE published_at IS NULL;

CREATE FUNCTION trip_events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'trip_events is append-only' USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER trip_events_append_only
    BEFORE DELETE OR UPDATE OF city_id, trip_id, version, move, state, driver_id,
        offer_id, offer_expires_at, end_reason, occurred_at
    ON trip_events FOR EACH ROW EXECUTE FUNCTION trip_events_refuse_change();

-- What was answered to whom. Written by the same statement as the effect, so
-- that either both are there or neither is.
CREATE TABLE idempotency (
    city_id      text        NOT NULL,
    scope        text        NOT NULL,
    key          text        NOT NULL,
    request_hash bytea       NOT NULL,
    trip_id      text        NOT NULL,
    -- The bytes of the answer; NULL where the trip is answered as it stands now.
    response     bytea,
    created_at   timestamptz NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (city_id, scope, key)
);

-- For forgetting old keys, twice a second in every process. They come in order of
-- time, so new ones are added at its right end.
CREATE INDEX idempotency_created ON idempotency (created_at);
