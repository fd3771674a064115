"""Generated from protos/hailstorm/trip/v1; `make protos` writes it."""
