"""Replaying records: the same again, or an exit code that says so."""

import json
from pathlib import Path
from typing import Any

import pytest

from hailstorm_operator import console, replay
from hailstorm_operator.policy_status import decision_entry, evidence_hash, record_block
from hailstorm_operator.rollouts import decide_rollout
from unit.operator.test_rollouts import looked, second

FIXTURES = Path(__file__).parent / "records"


def record() -> dict[str, Any]:
    inputs = looked([second(at, 1) for at in range(4)])
    entry = decision_entry("canary", decide_rollout(inputs), inputs, "2026-11-25T22:30:00.000Z")
    block = record_block("careful", enforced=True, before={}, entry=entry)
    return {"metadata": {"name": "app-2"}, "status": {"policy": block}}


def run(tmp_path: Path, document: Any) -> int:
    file = tmp_path / "record.json"
    file.write_text(json.dumps(document))
    return replay.main([str(file)])


def test_record_comes_out_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, {"items": [record()]}) == 0
    assert "aborted" in capsys.readouterr().out


def test_another_verdict_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = record()
    entry = changed["status"]["policy"]["decisions"][0]
    entry["verdict"] = "promoted"
    entry["evidence"] = evidence_hash(entry)
    assert run(tmp_path, changed) == 1
    assert "was 'promoted' and comes out as 'aborted'" in capsys.readouterr().out


def test_changed_evidence_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = record()
    changed["status"]["policy"]["decisions"][0]["inputs"]["seconds"][0][2][0] += 1
    assert run(tmp_path, changed) == 1
    assert "does not have the hash" in capsys.readouterr().out


@pytest.mark.parametrize("document", [{"metadata": {"name": "app-2"}}, {"items": []}, []])
def test_nothing_to_replay_is_no_pass(tmp_path: Path, document: Any) -> None:
    assert run(tmp_path, document) == 2


def test_hash_survives_the_api_servers_way_with_numbers() -> None:
    entry = record()["status"]["policy"]["decisions"][0]
    assert entry["inputs"]["now"] == 4.0
    entry["inputs"]["now"] = 4
    assert evidence_hash(entry) == entry["evidence"]


def test_record_keeps_the_newest_decisions() -> None:
    entry = record()["status"]["policy"]["decisions"][0]
    block: dict[str, Any] = {}
    for number in range(6):
        block = record_block("careful", enforced=True, before=block, entry={**entry, "at": number})
    assert [one["at"] for one in block["decisions"]] == [2, 3, 4, 5]


def test_kept_records_come_out_the_same() -> None:
    files = sorted(FIXTURES.glob("*.json"))
    assert len(files) >= 5
    assert replay.main([str(file) for file in files]) == 0


def test_command_is_known_by_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["hailstorm", "rollout", "replay", str(next(FIXTURES.glob("*")))]
    )
    assert console.main() == 0
    monkeypatch.setattr("sys.argv", ["hailstorm", "rollout"])
    assert console.main() == 64
    assert "hailstorm rollout replay" in capsys.readouterr().err
