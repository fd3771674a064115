-- The statements of the service that migration 0001 was written for, as that
-- version sent them. They stand for its pods, which go on while a release rolls:
-- every newer schema must serve them, so this file is never brought up to date.

-- name: create
WITH claim AS (
    INSERT INTO idempotency (city_id, scope, key, request_hash, trip_id, created_at)
    VALUES ($1, $2, $3, $4, $5, clock_timestamp())
    ON CONFLICT DO NOTHING
    RETURNING created_at
), trip AS (
    INSERT INTO trips (city_id, trip_id, rider_id, pickup_latitude, pickup_longitude,
        dropoff_latitude, dropoff_longitude, surge_multiplier, quote_id,
        requested_at, version, move, state, updated_at)
    SELECT $1, $5, $6, $7, $8, $9, $10, $11, $12, created_at, 1, $13, $14, created_at FROM claim
), history AS (
    INSERT INTO trip_events (city_id, trip_id, version, move, state, occurred_at)
    SELECT $1, $5, 1, $13, $14, created_at FROM claim
)
SELECT created_at FROM claim

-- name: advance
WITH moved AS (
    UPDATE trips SET version = $4, move = $5, state = $6, driver_id = $7, offer_id = $8,
        offer_expires_at = $9, end_reason = $10, updated_at = $11
    WHERE city_id = $1 AND trip_id = $2 AND version = $3
    RETURNING city_id, trip_id
), history AS (
    INSERT INTO trip_events (city_id, trip_id, version, move, state, driver_id, offer_id,
        offer_expires_at, end_reason, occurred_at)
    SELECT moved.city_id, moved.trip_id, event.*
    FROM moved CROSS JOIN unnest($12::bigint[], $13::text[], $14::text[], $15::text[],
        $16::text[], $17::timestamptz[], $18::text[], $19::timestamptz[]) AS event
), answered AS (
    INSERT INTO idempotency (city_id, scope, key, request_hash, trip_id, response, created_at)
    SELECT moved.city_id, $20::text, $21::text, $22::bytea, moved.trip_id, $23::bytea,
        clock_timestamp()
    FROM moved WHERE $20::text IS NOT NULL
)
SELECT 1 FROM moved

-- name: snapshot
SELECT clock_timestamp() AS now, i.request_hash, i.trip_id AS stored_trip_id, i.response,
    t.city_id, t.trip_id, t.rider_id, t.pickup_latitude, t.pickup_longitude, t.dropoff_latitude, t.dropoff_longitude, t.surge_multiplier, t.quote_id, t.requested_at, t.version, t.move, t.state, t.driver_id, t.offer_id, t.offer_expires_at, t.end_reason, t.updated_at
FROM (SELECT) AS one
LEFT JOIN trips t ON t.city_id = $1 AND t.trip_id = $2
LEFT JOIN idempotency i ON i.city_id = $1 AND i.scope = $3 AND i.key = $4

-- name: held
SELECT t.city_id, t.trip_id, t.rider_id, t.pickup_latitude, t.pickup_longitude, t.dropoff_latitude, t.dropoff_longitude, t.surge_multiplier, t.quote_id, t.requested_at, t.version, t.move, t.state, t.driver_id, t.offer_id, t.offer_expires_at, t.end_reason, t.updated_at FROM trips t
WHERE t.city_id = $1 AND t.driver_id = ANY($2::text[])
    AND t.state IN ('OFFERED', 'MATCHED', 'ARRIVING', 'IN_PROGRESS')

-- name: offers
SELECT t.city_id, t.trip_id, t.rider_id, t.pickup_latitude, t.pickup_longitude, t.dropoff_latitude, t.dropoff_longitude, t.surge_multiplier, t.quote_id, t.requested_at, t.version, t.move, t.state, t.driver_id, t.offer_id, t.offer_expires_at, t.end_reason, t.updated_at FROM trips t
WHERE t.city_id = $1 AND t.driver_id = ANY($2::text[])
    AND t.state = 'OFFERED' AND t.offer_expires_at > clock_timestamp()
ORDER BY t.offer_expires_at, t.trip_id

-- name: offer
SELECT t.city_id, t.trip_id, t.rider_id, t.pickup_latitude, t.pickup_longitude, t.dropoff_latitude, t.dropoff_longitude, t.surge_multiplier, t.quote_id, t.requested_at, e.version, e.move, e.state, e.driver_id, e.offer_id, e.offer_expires_at, e.end_reason, e.occurred_at AS updated_at FROM trip_events e
JOIN trips t ON t.city_id = e.city_id AND t.trip_id = e.trip_id
WHERE e.city_id = $1 AND e.trip_id = $2 AND e.version IN ($3::bigint, $3::bigint + 1)
ORDER BY e.version

-- name: key
SELECT request_hash, trip_id, response FROM idempotency
WHERE city_id = $1 AND scope = $2 AND key = $3

-- name: by_rider
SELECT t.city_id, t.trip_id, t.rider_id, t.pickup_latitude, t.pickup_longitude, t.dropoff_latitude, t.dropoff_longitude, t.surge_multiplier, t.quote_id, t.requested_at, t.version, t.move, t.state, t.driver_id, t.offer_id, t.offer_expires_at, t.end_reason, t.updated_at FROM trips t
WHERE t.city_id = $1 AND t.rider_id = $2
    AND ($3::timestamptz IS NULL OR (t.requested_at, t.trip_id) < ($3, $4::text))
ORDER BY t.requested_at DESC, t.trip_id DESC
LIMIT $5

-- name: by_driver
SELECT t.city_id, t.trip_id, t.rider_id, t.pickup_latitude, t.pickup_longitude, t.dropoff_latitude, t.dropoff_longitude, t.surge_multiplier, t.quote_id, t.requested_at, t.version, t.move, t.state, t.driver_id, t.offer_id, t.offer_expires_at, t.end_reason, t.updated_at FROM trips t
WHERE t.city_id = $1 AND t.driver_id = $2
    AND ($3::timestamptz IS NULL OR (t.requested_at, t.trip_id) < ($3, $4::text))
ORDER BY t.requested_at DESC, t.trip_id DESC
LIMIT $5

-- name: changes
SELECT w.place, t.city_id, t.trip_id, t.rider_id, t.pickup_latitude, t.pickup_longitude, t.dropoff_latitude, t.dropoff_longitude, t.surge_multiplier, t.quote_id, t.requested_at, e.version, e.move, e.state, e.driver_id, e.offer_id, e.offer_expires_at, e.end_reason, e.occurred_at AS updated_at
FROM unnest($1::text[], $2::text[], $3::bigint[])
    WITH ORDINALITY AS w (city_id, trip_id, after_version, place)
JOIN trip_events e
    ON e.city_id = w.city_id AND e.trip_id = w.trip_id AND e.version > w.after_version
JOIN trips t ON t.city_id = e.city_id AND t.trip_id = e.trip_id
ORDER BY w.place, e.version
LIMIT 5000

-- name: expire
WITH due AS (
    SELECT city_id, trip_id FROM trips WHERE state = 'OFFERED' AND offer_expires_at <= clock_timestamp() ORDER BY offer_expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE trips t SET version = t.version + 1, move = 'EXPIRE', state = 'REQUESTED',
        driver_id = NULL, offer_id = NULL, offer_expires_at = NULL, end_reason = NULL,
        updated_at = greatest(clock_timestamp(), t.updated_at)
    FROM due WHERE t.city_id = due.city_id AND t.trip_id = due.trip_id
    RETURNING t.city_id, t.trip_id, t.rider_id, t.pickup_latitude, t.pickup_longitude, t.dropoff_latitude, t.dropoff_longitude, t.surge_multiplier, t.quote_id, t.requested_at, t.version, t.move, t.state, t.driver_id, t.offer_id, t.offer_expires_at, t.end_reason, t.updated_at
), history AS (
    INSERT INTO trip_events (city_id, trip_id, version, move, state, end_reason, occurred_at)
    SELECT city_id, trip_id, version, move, state, end_reason, updated_at FROM moved
)
SELECT * FROM moved

-- name: abandon
WITH due AS (
    SELECT city_id, trip_id FROM trips WHERE state = 'REQUESTED' AND requested_at <= clock_timestamp() - make_interval(secs => $2) ORDER BY requested_at LIMIT $1 FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE trips t SET version = t.version + 1, move = 'ABANDON', state = 'UNFULFILLED',
        driver_id = NULL, offer_id = NULL, offer_expires_at = NULL, end_reason = 'RequestAbandoned',
        updated_at = greatest(clock_timestamp(), t.updated_at)
    FROM due WHERE t.city_id = due.city_id AND t.trip_id = due.trip_id
    RETURNING t.city_id, t.trip_id, t.rider_id, t.pickup_latitude, t.pickup_longitude, t.dropoff_latitude, t.dropoff_longitude, t.surge_multiplier, t.quote_id, t.requested_at, t.version, t.move, t.state, t.driver_id, t.offer_id, t.offer_expires_at, t.end_reason, t.updated_at
), history AS (
    INSERT INTO trip_events (city_id, trip_id, version, move, state, end_reason, occurred_at)
    SELECT city_id, trip_id, version, move, state, end_reason, updated_at FROM moved
)
SELECT * FROM moved

-- name: forget
WITH old AS (
    SELECT city_id, scope, key FROM idempotency
    WHERE created_at <= clock_timestamp() - make_interval(secs => $2)
    LIMIT $1 FOR UPDATE SKIP LOCKED
)
DELETE FROM idempotency i USING old
WHERE i.city_id = old.city_id AND i.scope = old.scope AND i.key = old.key
RETURNING 1
