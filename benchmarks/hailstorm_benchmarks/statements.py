"""
Every statement of the trip repository, by the name of its constant.

Found by looking rather than by listing: a query that is added there appears
here, and whoever must know all of them (EXPLAIN, pgbench) notices.
"""

import importlib
import pkgutil
import re
from typing import Final

from hailstorm.trip import repository

_VERBS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
# Reads no table of trips and runs once a release.
_LEFT_OUT: Final = ("migrate",)
_PARAMETER: Final = re.compile(r"\$(\d+)")


def statements() -> dict[str, str]:
    """The statements, as in `reads._SNAPSHOT`."""
    found = {}
    for module in pkgutil.iter_modules(repository.__path__):
        if module.name in _LEFT_OUT:
            continue
        namespace = vars(importlib.import_module(f"{repository.__name__}.{module.name}"))
        for name, value in namespace.items():
            if name.isupper() and isinstance(value, str) and value.lstrip().startswith(_VERBS):
                found[f"{module.name}.{name}"] = value
    return found


def parameter_count(statement: str) -> int:
    """How many parameters a statement takes."""
    return max((int(number) for number in _PARAMETER.findall(statement)), default=0)


def with_values(statement: str, values: dict[int, str]) -> str:
    """The statement with SQL in the place of its parameters. KeyError when one is missing."""
    return _PARAMETER.sub(lambda match: values[int(match[1])], statement)
