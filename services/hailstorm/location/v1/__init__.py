"""Generated from protos/hailstorm/location/v1; `make protos` writes it."""
