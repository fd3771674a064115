-- Who looks for a driver for a trip, and how demand is counted.
--
-- Only additions, and columns that may be NULL: pods of the release before read
-- and write trips as they did.

-- The search for a driver is one caller's until `search_until`, or until the trip
-- is at another version than it was then. No index holds the two, so that a claim
-- rewrites no index entry.
ALTER TABLE trips
    ADD COLUMN search_version bigint,
    ADD COLUMN search_until   timestamptz;

-- For counting the requests of the last minute. New rows come at its right end.
CREATE INDEX trips_requested ON trips (requested_at);
