"""
A RolloutRecord drawn for a terminal: phases, a bar for each pod, traffic, failures, verdict.

Pure: a record, the width in columns, and what the terminal can show go in; lines of
text come out. Without colour nothing is lost, since every state has its own
character; without UTF-8 the characters are ASCII.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from textwrap import wrap
from typing import Any, Final

from hailstorm_operator.timestamps import parse_time

Json = Mapping[str, Any]

# Below it a bar says nothing; the names are cut before that.
MIN_BAR: Final = 16
MIN_WIDTH: Final = 40
MAX_NAME: Final = 34
# More samples than fit a screen are in `-o json`.
MAX_SAMPLES: Final = 5
TICK_COLUMNS: Final = 10
TICK_SECONDS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
# A pod is in the last of these that it has reached.
STATES: Final = (
    ("created", "waiting"),
    ("scheduled", "pulling"),
    ("started", "starting"),
    ("ready", "ready"),
    ("terminating", "draining"),
    ("drained", "drained"),
    ("gone", "gone"),
)
COLOURS: Final = {
    "waiting": "2",
    "pulling": "2",
    "starting": "36",
    "ready": "32",
    "draining": "33",
    "drained": "2",
    "bad": "31",
    "good": "32",
    "bold": "1",
    "dim": "2",
}
VERDICT_COLOURS: Final = {"promoted": "good", "aborted": "bad"}


@dataclass(frozen=True)
class Look:
    """What the terminal can show."""

    width: int = 80
    colour: bool = False
    utf8: bool = True

    def paint(self, text: str, how: str) -> str:
        """Text in a colour, or as it is."""
        return f"\033[{COLOURS[how]}m{text}\033[0m" if self.colour and how in COLOURS else text

    def character(self, state: str) -> str:
        """One column of a pod's bar."""
        wide = {"waiting": "·", "pulling": "╌", "starting": "░", "ready": "█",
                "draining": "▒", "drained": "─", "gone": " ", "call": "▸"}  # fmt: skip
        narrow = {"waiting": ".", "pulling": "-", "starting": "+", "ready": "#",
                  "draining": "~", "drained": "_", "gone": " ", "call": ">"}  # fmt: skip
        return (wide if self.utf8 else narrow)[state]


@dataclass(frozen=True)
class Axis:
    """Time across columns."""

    start: datetime
    seconds: float
    columns: int

    def column(self, at: str) -> int:
        """The column of a moment, which may lie beyond either end."""
        passed = (parse_time(at) - self.start).total_seconds()
        return int(passed / self.seconds * self.columns)

    def moment(self, column: int) -> float:
        """Seconds after the start at a column's left edge."""
        return column / self.columns * self.seconds


def draw_record(record: Json, look: Look, now: datetime) -> list[str]:
    """Every line of the drawing. `now` is the end of a rollout that has none yet."""
    status: Json = record.get("status") or {}
    width = max(look.width, MIN_WIDTH)
    blocks = [
        list(_heading(record, status, look)),
        list(_verdict(status, look, width)),
        list(_time_line(status, look, width, now)),
        list(_traffic(status, width)),
        list(_failures(status, look)),
    ]
    lines: list[str] = []
    for block in blocks:
        if block:
            lines += [*block, ""]
    plain = lines[:-1]
    return plain if look.utf8 else [_ascii(line) for line in plain]


def _ascii(line: str) -> str:
    for sign, plain in (("≤", "<="), ("→", "->"), ("▲", "^"), ("│", "|")):
        line = line.replace(sign, plain)
    return line.encode("ascii", "replace").decode()


def _heading(record: Json, status: Json, look: Look) -> Iterator[str]:
    spec = record["spec"]
    trigger = spec.get("trigger") or {}
    yield look.paint(record["metadata"]["name"], "bold")
    who = f" by {trigger['manager']}" if trigger.get("manager") else ""
    kind = trigger.get("kind", "rollout")
    yield f"{kind} of {spec['targetRef']['name']} to revision {spec['revision']}{who}"
    if trigger.get("rollbackOf"):
        yield f"back from revision {trigger['rollbackOf']} to {trigger.get('rollbackTo', '?')}"
    if trigger.get("cause"):
        yield f"cause: {trigger['cause']}"
    for image in trigger.get("images") or []:
        yield f"{image['container']}: {image.get('from', '')} → {image.get('to', '')}"
    outcome = str(status.get("outcome", "progressing"))
    how = "good" if outcome == "complete" else "bad" if outcome == "failed" else "dim"
    took = f" after {status['duration']}" if status.get("duration") else ""
    yield look.paint(outcome, how) + took + f", began {status.get('startedAt', 'unknown')}"
    if status.get("message"):
        yield str(status["message"])


def _verdict(status: Json, look: Look, width: int) -> Iterator[str]:
    policy = status.get("policy") or {}
    if not policy:
        return
    yield look.paint("Verdict", "bold")
    for one in policy.get("decisions") or [policy]:
        verdict = str(one.get("verdict", ""))
        stage = f"{one['stage']}: " if "stage" in one else ""
        yield f"  {stage}{look.paint(verdict, VERDICT_COLOURS.get(verdict, 'dim'))}, {one['rule']}"
        for line in wrap(str(one.get("explanation", "")), width - 4):
            yield f"    {line}"
        if one.get("evidence"):
            yield look.paint(f"    evidence {str(one['evidence'])[:23]}", "dim")
    if policy.get("mode") == "observe":
        yield f"  only observed by RolloutPolicy {policy.get('name', '')}; nothing was done"


def _axis(status: Json, now: datetime, columns: int) -> Axis:
    start = parse_time(status["startedAt"])
    moments = [one["at"] for one in status.get("phases") or []]
    if status.get("completedAt"):
        moments.append(status["completedAt"])
        end = max(parse_time(at) for at in moments)
    else:
        end = max([now, *(parse_time(at) for at in moments)])
    return Axis(start, max(1.0, (end - start).total_seconds()), columns)


def _time_line(status: Json, look: Look, width: int, now: datetime) -> Iterator[str]:
    if not status.get("startedAt"):
        return
    pods = sorted(status.get("pods") or [], key=lambda one: parse_time(one["created"]))
    longest = max((len(str(one["name"])) for one in pods), default=0)
    # "old " or "new " before it, a blank after.
    names = max(8, min(longest, MAX_NAME, width - MIN_BAR - 5))
    axis = _axis(status, now, width - names - 5)
    margin = " " * (names + 5)
    yield look.paint("Time line", "bold")
    yield margin + _ruler(axis)
    yield from _phases(status, axis, margin, look)
    for pod in pods:
        mark = "new" if pod.get("hash") == status.get("podTemplateHash") else "old"
        yield f"{mark} {_cut(str(pod['name']), names, look)} " + _bar(pod, axis, look)
        if pod.get("reasons"):
            text = ", ".join(pod["reasons"]) + (f": {pod['detail']}" if pod.get("detail") else "")
            yield margin + look.paint(text[: axis.columns], "bad")
    if status.get("podsOmitted"):
        yield f"{status['podsOmitted']} pods more are not kept"
    legend = " ".join(f"{look.character(state)} {state}" for _, state in STATES[:-1])
    yield from wrap(f"{legend} {look.character('call')} first call", width)


def _cut(name: str, columns: int, look: Look) -> str:
    """The end of a name tells pods apart."""
    if len(name) > columns:
        name = ("…" if look.utf8 else ".") + name[len(name) - columns + 1 :]
    return name.ljust(columns)


def _ruler(axis: Axis) -> str:
    step = next(
        (one for one in TICK_SECONDS if one / axis.seconds * axis.columns >= TICK_COLUMNS),
        TICK_SECONDS[-1],
    )
    text = ""
    for number in range(int(axis.seconds / step) + 1):
        column = round(number * step / axis.seconds * axis.columns)
        label = f"{number * step}s"
        if column + len(label) <= axis.columns:
            text = text.ljust(column) + label
    return text


def _phases(status: Json, axis: Axis, margin: str, look: Look) -> Iterator[str]:
    """Each phase under its moment; those that would touch go to the next line."""
    rows: list[str] = []
    for one in status.get("phases") or []:
        late = "≤" if one.get("late") else ""
        label = ("▲" if look.utf8 else "^") + late + str(one["phase"])
        column = min(max(axis.column(one["at"]), 0), axis.columns - len(label))
        column = max(column, 0)
        for number, row in enumerate(rows):
            if not row or len(row) < column:
                rows[number] = row.ljust(column) + label
                break
        else:
            rows.append(" " * column + label)
    for row in rows:
        yield margin + row


def _bar(pod: Json, axis: Axis, look: Look) -> str:
    moments = [(axis.column(pod[moment]), state) for moment, state in STATES if moment in pod]
    called = axis.column(pod["firstCall"]) if "firstCall" in pod else None
    cells: list[tuple[str, str]] = []
    for column in range(axis.columns):
        # Later states last: the last one that has begun by this column counts.
        state = next((name for start, name in reversed(moments) if start <= column), "gone")
        cells.append((look.character("call" if column == called else state), state))
    text, row = "", 0
    while row < len(cells):
        end = row
        while end < len(cells) and cells[end][1] == cells[row][1]:
            end += 1
        run = "".join(sign for sign, _ in cells[row:end])
        text += look.paint(run, cells[row][1])
        row = end
    return text.rstrip()


def _traffic(status: Json, width: int) -> Iterator[str]:
    traffic = status.get("traffic")
    if not traffic:
        if status.get("completedAt"):
            yield "Traffic: written half a minute after the end"
        return
    yield f"Traffic: {traffic.get('state', 'Unknown')}, {traffic.get('reason', '')}"
    if traffic.get("state") != "Known" and traffic.get("message"):
        yield from wrap(str(traffic["message"]), width, initial_indent="  ", subsequent_indent="  ")
    windows = [(name, traffic[name]) for name in ("before", "during", "after") if name in traffic]
    if not windows:
        return
    names = ("offered", "ok", "retriedOk", "failed", "shed", "refused", "cancelled")
    rows = [["", *(name for name, _ in windows)]]
    rows += [[name, *(str(one.get(name, 0)) for _, one in windows)] for name in names]
    for name in ("p50Ms", "p99Ms"):
        rows.append([name[:3], *(_bound(one.get(name)) for _, one in windows)])
    rows.append(["complete", *("yes" if one.get("complete") else "NO" for _, one in windows)])
    yield from _table(rows)
    if "usersFailed" in traffic:
        yield f"  calls of users that failed on the new pods: {traffic['usersFailed']}"


def _bound(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"≤{round(milliseconds, 1):g}ms"


def _failures(status: Json, look: Look) -> Iterator[str]:
    failures = status.get("failures")
    if failures is None:
        return
    total = int(failures.get("total", 0))
    yield f"Failed attempts: {look.paint(str(total), 'bad' if total else 'good')}"
    if not total:
        return
    rows = [[phase, str(count)] for phase, count in (failures.get("byPhase") or {}).items()]
    rows.append(["unattributed", str(failures.get("unattributed", 0))])
    yield from _table(rows)
    rows = [[one["pod"], one["phase"], str(one["count"])] for one in failures.get("byPod") or []]
    yield from _table(rows)
    samples = failures.get("samples") or []
    for one in samples[:MAX_SAMPLES]:
        where = one.get("pod") or one.get("phase", "")
        yield f"  {one['at']} {one.get('method', '')} {one.get('code', '')} {where}".rstrip()
    if len(samples) > MAX_SAMPLES:
        yield f"  and {len(samples) - MAX_SAMPLES} more samples in -o json"


def _table(rows: Iterable[list[str]]) -> Iterator[str]:
    """Columns as wide as their widest cell; the first to the left, numbers to the right."""
    listed = list(rows)
    widths = [max(len(row[column]) for row in listed) for column in range(len(listed[0]))] \
        if listed else []  # fmt: skip
    for row in listed:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(widths[number]) for number, cell in enumerate(row[1:], 1)]
        yield ("  " + "  ".join(cells)).rstrip()
