"""
One flag as somebody wrote it: `true`, `ring`, or a value with exceptions.

    false
    {"value": true, "rules": [{"cell": "882a100d2dfffff", "value": false}]}

A rule holds where each of its words is what the decision says of itself; of
several that hold, the first one counts. What cannot be understood is refused as
a whole, with a sentence that says what to write instead: a kill switch that half
works is worse than one that says it does not.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

# What a flag may be: true or false, or one of some words.
Kind = type[bool] | tuple[str, ...]
Value = bool | str

# Longer texts are cut in messages; a flag may be as large as its ConfigMap, 1 MiB.
_MAX_SHOWN_CHARACTERS: Final = 80


class FlagError(ValueError):
    """
    A flag's text that cannot be used.

    Attributes:
        reason: `malformed`, `wrong_type` or `unknown_word`, for metrics.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class FlagValue:
    """
    A flag's general value and its exceptions, ready to be asked.

    Rules are kept by the words they look at, so that a thousand cells under one
    flag cost what one does.
    """

    __slots__ = ("_rules", "general", "text")

    def __init__(
        self, text: str, general: Value, rules: Sequence[tuple[Mapping[str, str], Value]] = ()
    ) -> None:
        self.text = text
        self.general = general
        # By the names they look at: the values looked for, with place and value.
        by_names: dict[tuple[str, ...], dict[tuple[str, ...], tuple[int, Value]]] = {}
        for place, (words, value) in enumerate(rules):
            names = tuple(sorted(words))
            wanted = tuple(words[name] for name in names)
            by_names.setdefault(names, {}).setdefault(wanted, (place, value))
        self._rules = tuple(by_names.items())

    @property
    def has_rules(self) -> bool:
        return bool(self._rules)

    def of(self, context: Mapping[str, str]) -> Value:
        """The value in `context`: the first rule that holds, or the general one."""
        best: tuple[int, Value] | None = None
        for names, values in self._rules:
            try:
                found = values.get(tuple([context[name] for name in names]))
            except KeyError:
                continue
            if found is not None and (best is None or found[0] < best[0]):
                best = found
        return self.general if best is None else best[1]


def parse_flag(text: str, kind: Kind | None) -> FlagValue:
    """
    Read a flag; `kind` None takes any. Raises FlagError, whose message says the cure.
    """
    text = text.strip()
    if not text.startswith("{"):
        return FlagValue(text, _checked(_plain(text, kind), kind))
    document = _json(text, kind)
    general, rules = document.pop("value", None), document.pop("rules", [])
    if document:
        raise FlagError(
            "malformed",
            f"has {_shown(sorted(document))} beside `value` and `rules`; write {_example(kind)}",
        )
    if not isinstance(rules, list):
        raise FlagError("malformed", f"has rules that are no list; write {_example(kind)}")
    read = [each for rule in rules for each in _rule(rule, kind)]
    return FlagValue(text, _checked(general, kind), read)


def _plain(text: str, kind: Kind | None) -> Any:
    if text.startswith('"'):
        return _json(text, kind)
    return {"true": True, "false": False}.get(text, text)


def _json(text: str, kind: Kind | None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FlagError("malformed", f"is not JSON ({error}); write {_example(kind)}") from None


def _rule(rule: Any, kind: Kind | None) -> list[tuple[dict[str, str], Value]]:
    """A rule as one for each value of its list, since `cell` may name many cells."""
    if not isinstance(rule, dict) or "value" not in rule or len(rule) < 2:
        raise FlagError("malformed", f"has the rule {_shown(rule)}; write {_example(kind)}")
    words = dict(rule)
    value = _checked(words.pop("value"), kind)
    lists = [name for name, wanted in words.items() if isinstance(wanted, list)]
    if len(lists) > 1:
        # Every combination would be a rule: two lists of a thousand are a million.
        raise FlagError("malformed", f"has a rule with lists for {lists}; write one list a rule")
    sets = [words]
    if lists:
        (name,) = lists
        sets = [{**words, name: one} for one in words[name]]
    if not sets or not all(isinstance(word, str) for each in sets for word in each.values()):
        raise FlagError(
            "malformed", f"has the rule {_shown(rule)}; write a text, or a list of texts, to match"
        )
    return [(each, value) for each in sets]


def _checked(value: Any, kind: Kind | None) -> Value:
    if kind is bool or (kind is None and isinstance(value, bool)):
        if not isinstance(value, bool):
            raise FlagError("wrong_type", f"is {_shown(value)}; write true or false")
        return value
    if not isinstance(value, str) or not value:
        raise FlagError("wrong_type", f"is {_shown(value)}; write {_example(kind)}")
    if isinstance(kind, tuple) and value not in kind:
        raise FlagError("unknown_word", f"is {_shown(value)}; write one of: {', '.join(kind)}")
    return value


def _example(kind: Kind | None) -> str:
    word = kind[0] if isinstance(kind, tuple) else "true"
    value = json.dumps(word) if isinstance(kind, tuple) else "true"
    return f'{word}, or {{"value": {value}, "rules": [{{"cell": "...", "value": {value}}}]}}'


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else text[:_MAX_SHOWN_CHARACTERS] + "…"
