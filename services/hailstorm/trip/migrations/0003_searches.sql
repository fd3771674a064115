-- Who looks for a driver for a trip. Pods of the release before know nothing of it.
--
-- The search is one caller's until `search_until`, or until the trip is at another
-- version than it was then. No index holds the two, so that a claim rewrites no
-- index entry.
ALTER TABLE trips ADD COLUMN search_version bigint;
ALTER TABLE trips ADD COLUMN search_until timestamptz;
