"""Drift between protos and stubs, and stubs that nothing stands behind."""

from pathlib import Path

from hailstorm_platform import protos


def test_drift_names_files_that_differ_or_are_missing(tmp_path: Path) -> None:
    committed, fresh = tmp_path / "committed", tmp_path / "fresh"
    for folder in (committed, fresh):
        (folder / "a").mkdir(parents=True)
        (folder / "a" / "same_pb2.py").write_text("1")
        (folder / "a" / "changed_pb2.py").write_text(folder.name)
    (fresh / "a" / "new_pb2.pyi").write_text("1")
    assert protos.drift(committed, fresh) == ["a/changed_pb2.py", "a/new_pb2.pyi"]


def test_stub_without_a_proto_is_stale(tmp_path: Path) -> None:
    for name in ("trip_pb2.py", "trip_pb2_grpc.pyi", "gone_pb2.py", "hand_pb2_notes.py"):
        (tmp_path / name).write_text("")
    assert protos.stale(tmp_path, ["trip.proto"]) == [tmp_path / "gone_pb2.py"]
