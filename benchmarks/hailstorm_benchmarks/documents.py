"""
What a benchmark wrote, as figures: its own, or those of benchmarks with a format of their own.

`caches`, `matching`, `outbox` and `overload` are studies whose documents hold much more than what
was asked; here it is read how they stand to it. A document of another form
gives one figure without a value, which is UNKNOWN: nothing passes unread.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from hailstorm_benchmarks.figures import Asked, Figure, Spread

# Issue 4, "Figures to reach": 90 % of the knee's goodput at three times the knee.
GOODPUT_ASKED: Final = Asked(0.9)
# Lower than nearest-first, by however little.
BETTER: Final = Asked(1.0, is_floor=False)
# TripsSettings.relay_milliseconds twice: a look, and the batch that it finds.
BEHIND_ASKED: Final = Asked(1.0, is_floor=False)
# From here on riders ask for more than the fleet can do.
OVERLOAD: Final = 1.0


def figures_of(name: str, document: Mapping[str, Any] | None, exit_code: int) -> list[Figure]:
    """The figures of one benchmark; one that is UNKNOWN where there is nothing to read."""
    if document is None:
        return [unknown(name, f"it ended with {exit_code} and wrote nothing")]
    try:
        if "figures" in document:
            return [Figure.from_json(stored) for stored in document["figures"]]
        return _READERS[name](document)
    except (KeyError, TypeError, ValueError) as error:
        return [unknown(name, f"its document cannot be read: {error!r}")]


def unknown(name: str, why: str) -> Figure:
    """A figure that could not be had, and fails the run for it."""
    return Figure(name=name, unit="", measured=None, asked=Asked(0.0), why=why)


def _matching(document: Mapping[str, Any]) -> list[Figure]:
    rows = {
        (row["load"], row["policy"]): row["runs"]
        for row in document["rows"]
        if row["riders"] == "wait" and row["load"] >= OVERLOAD
    }
    loads = sorted({load for load, _ in rows})
    if not loads:
        raise ValueError("no load of 1.0 or more")
    return [
        Figure(
            name=f"batched matching at load {load:g}, {words}",
            unit=unit,
            measured=Spread(tuple(run[key] for run in rows[load, "batched"])),
            asked=BETTER,
            asked_of_ratio=True,
            rival_name="nearest first",
            rival=Spread(tuple(run[key] for run in rows[load, "nearest first"])),
        )
        for load in loads
        for key, words, unit in (
            ("mean_wait_s", "mean wait", "s"),
            ("abandoned_share", "abandoned", "share"),
        )
    ]


def _overload(document: Mapping[str, Any]) -> list[Figure]:
    settings, shipped = document["settings"], document["shipped"]
    name = "goodput of one process at 3x the knee"
    lag, most = document["generator_lag_p99_ms"], document["max_generator_lag_ms"]
    if lag > most:
        told = f"the generator was up to {lag:.0f} ms late (p99), {most:.0f} are allowed"
        return [unknown(f"{name}, limit {shipped}", told)]
    if shipped not in settings:
        return [unknown(f"{name}, limit {shipped}", "the chart ships it, and nobody measured it")]
    # What nobody is given unasked is shown, and passes for nothing.
    others = [each for each in settings if each != shipped]
    return [
        Figure(
            name=f"{name}, limit {each}",
            unit="calls/s",
            measured=Spread((settings[each]["3.0"]["goodput_per_second"],)),
            asked=GOODPUT_ASKED if each == shipped else None,
            asked_of_ratio=True,
            rival_name="at the knee",
            rival=Spread((settings[each]["1.0"]["goodput_per_second"],)),
            why=f"{'as shipped' if each == shipped else 'not shipped'}; medians of"
            f" {settings[each]['3.0']['rounds']} rounds",
        )
        for each in (shipped, *others)
    ]


def _outbox(document: Mapping[str, Any]) -> list[Figure]:
    runs = [run for run in document["beside_calls"] if run["relays"] == 1]
    if not runs:
        raise ValueError("no run with one relay")
    behind = [run["left_unpublished"] / run["transitions_per_second"] for run in runs]
    return [
        Figure(
            name="how far one relay is behind pgbench's transitions",
            unit="s",
            measured=Spread(tuple(behind)),
            asked=BEHIND_ASKED,
        )
    ]


def _caches(document: Mapping[str, Any]) -> list[Figure]:
    rounds = document["rounds"]
    return [
        Figure(
            name=f"{words} CPU of a request with both caches",
            unit="us",
            measured=Spread(tuple(float(r["create_both_cached"][key]) for r in rounds)),
            asked=BETTER,
            asked_of_ratio=True,
            rival_name="both read each time",
            rival=Spread(tuple(float(r["create_both_read_each_time"][key]) for r in rounds)),
        )
        for key, words in (("store_cpu_us", "Postgres'"), ("process_cpu_us", "the process's"))
    ]


_READERS: Final[dict[str, Callable[[Mapping[str, Any]], list[Figure]]]] = {
    "caches": _caches,
    "outbox": _outbox,
    "matching": _matching,
    "overload": _overload,
}
