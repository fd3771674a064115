"""Generated from protos/hailstorm/dispatch/v1; `make protos` writes it."""
