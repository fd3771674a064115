"""Names that a comparison gives to what it makes, spelled once."""

from typing import Final

NAMESPACE: Final = "hailstorm-compare"
TARGET: Final = "target"
# The spares of a ServiceScaler, by the operator's naming.
SPARE: Final = f"{TARGET}-spare"
CONTAINER: Final = "work"
EDGE: Final = "edge"
EDGE_SERVICE: Final = "edge-headless"
EDGE_PORT: Final = 8080
# The port on which the operator asks the product's edge, and the only one that its
# network policy lets it reach.
STATS_PORT: Final = 9902
LOAD: Final = "load"
