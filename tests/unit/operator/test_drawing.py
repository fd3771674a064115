"""Records as they are drawn: whole pictures, kept beside, and what a narrow terminal loses."""

import copy
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hailstorm_operator.drawing import Look, draw_record

DRAWINGS = Path(__file__).parent / "drawings"
NOW = datetime(2026, 11, 25, 22, 30, 12, tzinfo=UTC)


def at(seconds: float) -> str:
    return f"2026-11-25T22:30:{seconds:06.3f}Z"


def pod(name: str, of: str, **moments: Any) -> dict[str, Any]:
    times = {
        key: at(value) if isinstance(value, (int, float)) else value
        for key, value in moments.items()
    }
    return {"name": name, "hash": of, "node": "worker", "restarts": 0, **times}


def window(**counts: Any) -> dict[str, Any]:
    zero = dict.fromkeys(("ok", "refused", "shed", "cancelled", "failed", "retriedOk"), 0)
    return {"complete": True, **zero, **counts, "p50Ms": 12.5, "p99Ms": 81.0}


def promoted() -> dict[str, Any]:
    return {
        "metadata": {"name": "cart-7-1a2b3cg9", "namespace": "shop", "labels": {}},
        "spec": {
            "targetRef": {"name": "cart", "uid": "uid-1"},
            "revision": 7,
            "generation": 9,
            "templateHash": "1a2b3c",
            "trigger": {
                "kind": "rollout",
                "manager": "helm",
                "cause": "release 7",
                "images": [{"container": "main", "from": "cart:6", "to": "cart:7"}],
            },
        },
        "status": {
            "outcome": "complete",
            "message": "every pod runs the new template and every old one is gone",
            "podTemplateHash": "new",
            "startedAt": at(0.25),
            "completedAt": at(30.25),
            "duration": "30.0s",
            "phases": [
                {"phase": "Started", "at": at(0.25)},
                {"phase": "Surging", "at": at(0.75)},
                {"phase": "Available", "at": at(24)},
                {"phase": "Complete", "at": at(30.25), "late": True},
            ],
            "pods": [
                pod("cart-old-aaaaa", "old", created="2026-11-25T21:00:00Z",
                    scheduled="2026-11-25T21:00:00Z", started="2026-11-25T21:00:02Z",
                    ready="2026-11-25T21:00:05Z", terminating=24, drained=27, gone=30),
                pod("cart-new-bbbbb", "new", created=1, scheduled=1.5, started=4, ready=8,
                    firstCall=10),
            ],
            "policy": {
                "name": "careful", "mode": "enforce", "verdict": "promoted",
                "decisions": [
                    {"stage": "canary", "verdict": "promoted", "rule": "EnoughEvidence",
                     "explanation": "0 of 300 calls failed on the new pods, 0 of 900 on the "
                     "others, in 10 s without a gap", "evidence": "sha256:" + "ab" * 32},
                    {"stage": "watch", "verdict": "promoted", "rule": "EnoughEvidence",
                     "explanation": "nothing was seen", "evidence": "sha256:" + "cd" * 32},
                ],
            },
            "traffic": {
                "state": "Known", "reason": "EveryCallSeen",
                "before": window(offered=900, ok=900),
                "during": window(offered=901, ok=899, failed=1, shed=1, retriedOk=2),
                "after": window(offered=904, ok=904),
            },
            "failures": {
                "total": 4, "omitted": 0, "unattributed": 1,
                "byPhase": {"draining": 2, "starting": 1},
                "byPod": [
                    {"pod": "cart-new-bbbbb", "phase": "starting", "count": 1},
                    {"pod": "cart-old-aaaaa", "phase": "draining", "count": 2},
                ],
                "samples": [
                    {"at": at(9), "method": "Add", "code": "UNAVAILABLE", "pod": "cart-new-bbbbb",
                     "phase": "starting"},
                    *({"at": at(25 + number), "method": "Add", "code": "INTERNAL",
                       "phase": "unattributed"} for number in range(5)),
                ],
            },
        },
    }  # fmt: skip


def aborted() -> dict[str, Any]:
    record = promoted()
    record["spec"]["trigger"] = {"kind": "rollout"}
    status = record["status"]
    status |= {"outcome": "failed", "duration": "≤9.0s", "completedAt": at(9.25)}
    status["message"] = "aborted, ImagePullBackOff: cart-new-bbbbb cannot run"
    status["phases"] = [
        {"phase": "Started", "at": at(0.25)},
        {"phase": "Surging", "at": at(1)},
        {"phase": "Paused", "at": at(1.5)},
        {"phase": "Failed", "at": at(9.25)},
    ]
    status["pods"] = [
        pod("cart-old-aaaaa", "old", created="2026-11-25T21:00:00Z",
            ready="2026-11-25T21:00:05Z"),
        pod("cart-new-bbbbb", "new", created=1, scheduled=1.5, reasons=["ImagePullBackOff"],
            detail="image cart:7: not found"),
    ]  # fmt: skip
    status["policy"] = {
        "name": "careful", "mode": "observe", "verdict": "aborted", "rule": "ImagePullBackOff",
        "explanation": "cart-new-bbbbb cannot run",
    }  # fmt: skip
    status["traffic"] = {
        "state": "Unknown", "reason": "RecorderGap", "failed": "unknown",
        "message": "not everything was seen: RecorderStarted; counts are what at least there was",
        "before": {"complete": True, "offered": 3, "ok": 3},
        "during": {"complete": False, "offered": 5, "ok": 5},
    }  # fmt: skip
    status["failures"] = {"total": 0}
    return record


def running() -> dict[str, Any]:
    record = promoted()
    status = record["status"]
    for name in ("completedAt", "duration", "traffic", "failures", "policy", "message"):
        del status[name]
    status["outcome"] = "progressing"
    status["phases"] = status["phases"][:2]
    del status["pods"][0]["terminating"], status["pods"][0]["gone"], status["pods"][0]["drained"]
    return record


def just_created() -> dict[str, Any]:
    """The operator died between creating it and its first status."""
    record = promoted()
    del record["status"]
    return record


STORIES = {
    "promoted": (promoted, Look(80)),
    "promoted-wide-colour": (promoted, Look(120, colour=True)),
    "aborted-ascii": (aborted, Look(72, utf8=False)),
    "running": (running, Look(80)),
    "running-narrow": (running, Look(44)),
    "just-created": (just_created, Look(80)),
}


@pytest.mark.parametrize("name", STORIES)
def test_record_is_drawn_as_it_was(name: str) -> None:
    make, look = STORIES[name]
    drawn = "\n".join(draw_record(make(), look, NOW)) + "\n"
    assert drawn == (DRAWINGS / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [1, 20, 40, 57, 80, 132, 300])
@pytest.mark.parametrize("make", [promoted, aborted, running, just_created])
def test_time_line_fits_the_terminal(make: Any, width: int) -> None:
    lines = draw_record(make(), Look(width), NOW)
    first = lines.index("Time line") if "Time line" in lines else len(lines)
    for line in lines[first:]:
        if not line:
            break
        assert len(line) <= max(width, 40), line


def test_colour_changes_no_character() -> None:
    plain = draw_record(promoted(), Look(80), NOW)
    coloured = draw_record(promoted(), Look(80, colour=True), NOW)
    assert any("\033[" in line for line in coloured)
    assert [re.sub(r"\033\[\d*m", "", line).rstrip() for line in coloured] == plain


def test_ascii_is_ascii() -> None:
    for make in (promoted, aborted, running):
        for line in draw_record(make(), Look(80, utf8=False), NOW):
            line.encode("ascii")


def test_what_a_release_cost_its_users_is_one_line() -> None:
    record = aborted()
    status = record["status"]
    assert not [line for line in draw_record(record, Look(80), NOW) if "of users" in line]
    status["traffic"]["usersFailed"] = 31
    status["phases"].append({"phase": "TakenBack", "at": at(20)})
    lines = draw_record(record, Look(80), NOW)
    assert "  calls of users that failed on the new pods: 31" in lines
    # The time line goes on until the last of its pods is gone.
    assert any("TakenBack" in line for line in lines)
    assert any("15s" in line for line in lines)


def test_long_names_keep_their_ends() -> None:
    record = promoted()
    record["status"]["pods"][1]["name"] = "a-service-with-a-very-long-name-indeed-5d9c7b-x2x4z"
    (line,) = [one for one in draw_record(record, Look(60), NOW) if one.startswith("new")]
    assert "5d9c7b-x2x4z" in line


def test_drawing_leaves_the_record_alone() -> None:
    record = promoted()
    before = copy.deepcopy(record)
    draw_record(record, Look(80), NOW)
    assert record == before
