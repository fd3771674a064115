"""The life of a trip, and its history."""
