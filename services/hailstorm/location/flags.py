"""
The flags that the location service reads.

docs/reference/flags.md says what each does; a test compares.
"""

from collections.abc import Mapping
from typing import Final

from hailstorm.location.settings import IndexKind
from hailstorm.runtime.flags.values import Kind

# Which index searches are answered from; see `index.switch` for how it changes.
GEO_BACKEND: Final = "geo-backend"

FLAGS: Final[Mapping[str, Kind]] = {GEO_BACKEND: tuple(kind.value for kind in IndexKind)}
