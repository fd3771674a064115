"""
The values that hold now, and the last good ones where new ones are no good.

Sources hand over all that is written down; each flag is then judged by itself.
One that cannot be used keeps the value it had, so that a slip of the pen during
an incident undoes nothing; one that is gone is back at what the code says. What
a decision reads is one dictionary that is replaced, never changed: a flip costs
the hot path nothing.
"""

import difflib
import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from hailstorm.runtime.flags.values import FlagError, FlagValue, Kind, parse_flag

# Characters of the digest that tells one state of all flags from another.
_REVISION_CHARACTERS: Final = 12
# How alike a name must be to one of ours to be taken for a slip of the pen; higher
# misses letters that changed places, lower mistakes the flags of other services.
_LIKENESS: Final = 0.8
# What stands in metrics for a flag with exceptions, whose text may be a page.
_WITH_RULES: Final = "rules"
# Longer texts are cut in log lines, for the same reason.
_MAX_LOGGED_CHARACTERS: Final = 200

Listener = Callable[[frozenset[str]], None]

_log = logging.getLogger(__name__)


class LiveFlags:
    """
    Flags (see `reader`) whose values can be replaced at any time.

    `kinds` are the flags that this process reads: they alone are checked, shown
    and watched for slips of the pen; all others are kept as they are written.
    """

    def __init__(self, kinds: Mapping[str, Kind], registry: CollectorRegistry) -> None:
        self._kinds = dict(kinds)
        self._values: Mapping[str, FlagValue] = {}
        self._texts: Mapping[str, str] = {}
        self._told: frozenset[str] = frozenset()
        self._refused: dict[str, tuple[str, str]] = {}
        self._listeners: list[Listener] = []
        self._value_gauge = Gauge(
            "hailstorm_flag",
            "1 for the value that a flag of this process has by its source; `default` where the "
            "source says nothing, `rules` where it depends.",
            ("flag", "value"),
            registry=registry,
        )
        self._revision_gauge = Gauge(
            "hailstorm_flags_revision",
            "Always 1; the digest of all that the source says, equal in pods that heard the same.",
            ("revision",),
            registry=registry,
        )
        self._refused_gauge = Gauge(
            "hailstorm_flags_refused",
            "1 while a flag's text is refused and its last good value holds.",
            ("flag", "reason"),
            registry=registry,
        )
        self._refusals = Counter(
            "hailstorm_flags_refusals", "Texts refused so far.", ("reason",), registry=registry
        )
        self._changes = Counter(
            "hailstorm_flags_changes", "Values that changed so far.", registry=registry
        )
        self.revision = _digest({})
        self._show({})

    def boolean(self, name: str, default: bool, **context: str) -> bool:
        value = self._values.get(name)
        if value is None:
            return default
        found = value.of(context)
        return found if isinstance(found, bool) else default

    def string(self, name: str, default: str, **context: str) -> str:
        value = self._values.get(name)
        if value is None:
            return default
        found = value.of(context)
        return found if isinstance(found, str) else default

    def get(self, name: str) -> FlagValue | None:
        """All that is said of a flag; None when that is nothing."""
        return self._values.get(name)

    def on_change(self, listener: Listener) -> None:
        """Call `listener` with the names of the flags of each change, after it holds."""
        self._listeners.append(listener)

    def apply(self, texts: Mapping[str, str], source: str) -> None:
        """
        Take all that `source` says now. Repeating it changes and tells nothing.

        Never raises for what a text holds.
        """
        if texts == self._texts:
            return
        values: dict[str, FlagValue] = {}
        refused: dict[str, tuple[str, str]] = {}
        for name, text in texts.items():
            before = self._values.get(name)
            try:
                values[name] = parse_flag(text, self._kinds.get(name))
            except FlagError as error:
                refused[name] = (text, error.reason)
                if before is not None:
                    values[name] = before
                if self._refused.get(name) != refused[name]:
                    self._refuse(name, error, source)
        old, self._values, self._texts = self._values, values, dict(texts)
        self._tell_unknown(texts)
        self._show_refused(refused)
        self._settle(old, source)

    def _settle(self, old: Mapping[str, FlagValue], source: str) -> None:
        before, self.revision = self.revision, _digest(self._texts)
        self._show(old, before)
        changed = frozenset(
            name
            for name in old.keys() | self._values.keys()
            if _text(old, name) != _text(self._values, name)
        )
        for name in sorted(changed):
            self._changes.inc()
            _log.info(
                "flag %s: %s -> %s",
                *(name, _cut(_text(old, name)), _cut(_text(self._values, name))),
                extra={"flag": name, "source": source, "revision": self.revision},
            )
        if changed:
            for listener in self._listeners:
                listener(changed)

    def _refuse(self, name: str, error: FlagError, source: str) -> None:
        self._refusals.labels(reason=error.reason).inc()
        _log.error(
            "flag %s %s; %s holds on",
            *(name, error, _cut(_text(self._values, name))),
            extra={"flag": name, "source": source, "reason": error.reason},
        )

    def _tell_unknown(self, texts: Mapping[str, str]) -> None:
        unknown = frozenset(texts) - self._kinds.keys()
        for name in sorted(unknown - self._told):
            close = difflib.get_close_matches(name, self._kinds, n=1, cutoff=_LIKENESS)
            if close:
                _log.warning("flag %s is read by nobody here; did you mean %s?", name, close[0])
            else:
                _log.info("flag %s is not read here", name)
        self._told = unknown

    def _show_refused(self, refused: dict[str, tuple[str, str]]) -> None:
        for name, (_, reason) in self._refused.items():
            self._refused_gauge.remove(name, reason)
        for name, (_, reason) in refused.items():
            self._refused_gauge.labels(flag=name, reason=reason).set(1)
        self._refused = refused

    def _show(self, old: Mapping[str, FlagValue], revision: str | None = None) -> None:
        for name in self._kinds:
            if revision is not None:
                self._value_gauge.remove(name, _shown(old.get(name)))
            self._value_gauge.labels(flag=name, value=_shown(self._values.get(name))).set(1)
        if revision is not None:
            self._revision_gauge.remove(revision)
        self._revision_gauge.labels(revision=self.revision).set(1)


def _text(values: Mapping[str, FlagValue], name: str) -> str:
    value = values.get(name)
    return "default" if value is None else value.text


def _cut(text: str) -> str:
    limit = _MAX_LOGGED_CHARACTERS
    return text if len(text) <= limit else text[:limit] + "…"


def _shown(value: FlagValue | None) -> str:
    if value is None:
        return "default"
    if value.has_rules:
        return _WITH_RULES
    return value.general if isinstance(value.general, str) else str(value.general).lower()


def _digest(texts: Mapping[str, str]) -> str:
    whole = "\0".join(f"{name}\0{texts[name]}" for name in sorted(texts))
    return hashlib.sha256(whole.encode()).hexdigest()[:_REVISION_CHARACTERS]
