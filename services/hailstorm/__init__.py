"""The ride-hailing services: location, dispatch, trip, and the runtime they share."""
