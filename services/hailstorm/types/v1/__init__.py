"""Generated from protos/hailstorm/types/v1; `make protos` writes it."""
