"""
Settings: frozen dataclasses that are read from the environment, once.

A variable is called HAILSTORM_<GROUP>_<FIELD>, in the words of values.yaml. A
process with a mistyped or unknown setting must not start with a default in its
place, hence: all problems are told together, each with its cure, and the exit
code is 2, which no crash of Python itself has.
"""

import dataclasses
import enum
import math
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn, TypeVar

PREFIX: Final = "HAILSTORM_"
# As argparse and most shells use it: the command was called wrongly.
EXIT_CODE_BAD_SETTINGS: Final = 2

T = TypeVar("T")


class Secret(str):
    """A string that never shows itself in a log or a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)"


class SettingsError(Exception):
    """
    The environment does not describe a process that can run.

    Attributes:
        problems: one sentence for each variable that is wrong, with its cure.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def setting(
    default: Any = dataclasses.MISSING,
    *,
    doc: str,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """
    Declare a field: `doc` says unit, meaning and why the default is what it is.

    Without a default the variable must be set. `minimum` and `maximum` are
    inclusive and hold for numbers.
    """
    metadata = {"doc": doc, "minimum": minimum, "maximum": maximum}
    return dataclasses.field(default=default, metadata=metadata)


def group(kind: type[Any]) -> Any:
    """Declare a group of settings; the field's name is the <GROUP> of its variables."""
    return dataclasses.field(metadata={"group": kind})


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """One variable that a process reads, for tables in docs and for tests of charts."""

    name: str
    type: Any
    default: Any
    doc: str
    minimum: float | None
    maximum: float | None

    @property
    def is_required(self) -> bool:
        return self.default is dataclasses.MISSING


def variables(kind: type[Any], prefix: str = PREFIX) -> Iterator[Variable]:
    """List the variables that `read_settings(kind, ...)` knows, in the order declared."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name = prefix + field.name.upper()
        if "group" in field.metadata:
            yield from variables(field.metadata["group"], name + "_")
        else:
            yield Variable(
                name=name,
                type=hints[field.name],
                default=field.default,
                doc=field.metadata["doc"],
                minimum=field.metadata["minimum"],
                maximum=field.metadata["maximum"],
            )


def read_settings(kind: type[T], environ: Mapping[str, str]) -> T:
    """
    Build `kind` from `environ`.

    Raises SettingsError with every problem there is: a variable that is
    missing, malformed or out of range, and a HAILSTORM_ variable that nothing
    reads, which is a typing error nobody would otherwise notice.
    """
    problems: list[str] = []
    known = {variable.name: variable for variable in variables(kind)}
    values: dict[str, Any] = {}
    for name, variable in known.items():
        if name in environ:
            try:
                values[name] = _parse(variable, environ[name])
            except ValueError as error:
                problems.append(f"{name} {error}")
        elif variable.is_required:
            problems.append(f"{name} is not set; give it: {variable.doc}")
        else:
            values[name] = variable.default
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            problems.append(f"{name} is not a setting of this process;{_cure(name, known)}")
    if problems:
        raise SettingsError(problems)
    built: T = _build(kind, PREFIX, values)
    return built


def settings_or_exit(kind: type[T], environ: Mapping[str, str]) -> T:
    """Build `kind`, or tell all problems on stderr and exit with code 2."""
    try:
        return read_settings(kind, environ)
    except SettingsError as error:
        exit_for_bad_settings(error)


def exit_for_bad_settings(error: SettingsError) -> NoReturn:
    """Tell all problems on stderr and exit with code 2."""
    count = len(error.problems)
    print(f"cannot start: {count} bad setting{'s' if count > 1 else ''}", file=sys.stderr)
    for problem in error.problems:
        print(f"  {problem}", file=sys.stderr)
    raise SystemExit(EXIT_CODE_BAD_SETTINGS)


def _build(kind: type[Any], prefix: str, values: Mapping[str, Any]) -> Any:
    arguments = {}
    for field in dataclasses.fields(kind):
        name = prefix + field.name.upper()
        if "group" in field.metadata:
            arguments[field.name] = _build(field.metadata["group"], name + "_", values)
        else:
            arguments[field.name] = values[name]
    return kind(**arguments)


def _parse(variable: Variable, text: str) -> Any:
    kind = _without_none(variable.type)
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"is {text!r}; write true or false")
        return text == "true"
    if kind in (int, float):
        return _parse_number(variable, kind, text)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(text)
        except ValueError:
            choices = ", ".join(str(member.value) for member in kind)
            raise ValueError(f"is {text!r}; choose one of: {choices}") from None
    if kind is Secret:
        if not text:
            raise ValueError("is empty; give the secret, or leave the variable out")
        return Secret(text)
    if kind is str:
        if not text.strip():
            raise ValueError("is empty; give a value, or leave the variable out")
        return text
    raise TypeError(f"{variable.name}: a setting cannot be a {kind}")


def _parse_number(variable: Variable, kind: type[Any], text: str) -> int | float:
    try:
        number: int | float = kind(text)
    except ValueError:
        word = "a whole number" if kind is int else "a number"
        raise ValueError(f"is {text!r}; write {word}") from None
    if not math.isfinite(number):
        raise ValueError(f"is {text!r}; write a finite number")
    low, high = variable.minimum, variable.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"is {text}; write {bounds}")
    return number


def _without_none(kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        (only,) = (member for member in kind.__args__ if member is not type(None))
        return only
    return kind


def _cure(name: str, known: Mapping[str, Variable]) -> str:
    # Imported late: a process whose settings are right has no use for it.
    import difflib

    # Without the prefix, which all of them share and which is no likeness.
    bare = [other.removeprefix(PREFIX) for other in known]
    close = difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1)
    return f" did you mean {PREFIX}{close[0]}?" if close else " remove it"
