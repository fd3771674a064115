-- What finished trips were, who may ride, and which cities are open.
--
-- Only new tables, and indexes on nothing but them: the version before this one
-- writes trips while this runs, and an index on a table of millions would make
-- it wait for as long as it is built.

-- One row for each finished trip, written behind by whoever relays its last
-- event. It says nothing that trip_events does not, and may be made anew from it.
CREATE TABLE trip_history (
    city_id           text             NOT NULL,
    trip_id           text             NOT NULL,
    rider_id          text             NOT NULL,
    -- Who said yes; a driver who was only asked is in trip_events.
    driver_id         text,
    state             text             NOT NULL,
    end_reason        text,
    surge_multiplier  double precision NOT NULL,
    quote_id          text,
    pickup_latitude   double precision NOT NULL,
    pickup_longitude  double precision NOT NULL,
    dropoff_latitude  double precision NOT NULL,
    dropoff_longitude double precision NOT NULL,
    -- How many drivers were asked.
    offers            integer          NOT NULL,
    version           bigint           NOT NULL,
    requested_at      timestamptz      NOT NULL,
    -- When the trip first came to each state; NULL where it never did.
    offered_at        timestamptz,
    matched_at        timestamptz,
    arriving_at       timestamptz,
    started_at        timestamptz,
    ended_at          timestamptz      NOT NULL,
    -- Made by the store, so that they cannot say anything else than the times do.
    match_seconds     double precision
        GENERATED ALWAYS AS (extract(epoch FROM matched_at - requested_at)) STORED,
    pickup_seconds    double precision
        GENERATED ALWAYS AS (extract(epoch FROM started_at - matched_at)) STORED,
    ride_seconds      double precision
        GENERATED ALWAYS AS (extract(epoch FROM ended_at - started_at)) STORED,
    recorded_at       timestamptz      NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT trip_history_pkey PRIMARY KEY (city_id, trip_id),
    CONSTRAINT trip_history_is_over CHECK (state IN ('COMPLETED', 'CANCELLED', 'UNFULFILLED')),
    CONSTRAINT trip_history_completed_has_driver CHECK (
        state <> 'COMPLETED' OR driver_id IS NOT NULL)
);

CREATE INDEX trip_history_by_rider ON trip_history (city_id, rider_id, requested_at DESC);
CREATE INDEX trip_history_by_driver ON trip_history (city_id, driver_id, requested_at DESC)
    WHERE driver_id IS NOT NULL;

-- Riders who have a profile; one without is served all the same.
CREATE TABLE riders (
    city_id      text        NOT NULL,
    rider_id     text        NOT NULL,
    display_name text        NOT NULL,
    status       text        NOT NULL DEFAULT 'active',
    -- Raised by every change, so that a copy can be told from a newer one.
    version      bigint      NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT riders_pkey PRIMARY KEY (city_id, rider_id),
    CONSTRAINT riders_status_known CHECK (status IN ('active', 'blocked')),
    CONSTRAINT riders_version_positive CHECK (version >= 1)
);

-- What is said of a city; one of which nothing is said is open.
CREATE TABLE cities (
    city_id    text        NOT NULL,
    name       text        NOT NULL,
    is_open    boolean     NOT NULL DEFAULT true,
    version    bigint      NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT cities_pkey PRIMARY KEY (city_id),
    CONSTRAINT cities_version_positive CHECK (version >= 1)
);
