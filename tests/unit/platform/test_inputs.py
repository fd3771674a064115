"""The cache's names, and that nothing half-made ever has one."""

from pathlib import Path

import pytest

from hailstorm_platform.inputs import cached, hash_of, hash_of_tree
from hailstorm_platform.paths import Paths


def test_hash_differs_when_a_border_between_parts_moves() -> None:
    assert hash_of(["ab", "c"]) != hash_of(["a", "bc"])
    assert hash_of(["a", "b"]) != hash_of(["b", "a"])
    assert hash_of(["a", "b"]) == hash_of(iter(["a", "b"]))


def test_hash_of_tree_sees_names_contents_and_executable_bits(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / "a.py"
    file.write_text("1")
    file.chmod(0o644)
    seen = {hash_of_tree(tmp_path)}
    file.write_text("2")
    seen.add(hash_of_tree(tmp_path))
    file.chmod(0o755)
    seen.add(hash_of_tree(tmp_path))
    file.rename(tmp_path / "sub" / "b.py")
    seen.add(hash_of_tree(tmp_path))
    assert len(seen) == 4


def test_hash_of_tree_leaves_out_what_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = hash_of_tree(tmp_path, lambda path: path.suffix == ".pyc")
    (tmp_path / "a.pyc").write_text("compiled")
    assert hash_of_tree(tmp_path, lambda path: path.suffix == ".pyc") == before
    assert hash_of_tree(tmp_path) != before


def test_cached_makes_a_result_once(tmp_path: Path) -> None:
    paths = Paths(root=tmp_path, home=tmp_path / "home")
    paths.create()
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "result").write_text("done")

    first = cached(paths, "thing", "abc", make)
    second = cached(paths, "thing", "abc", make)
    assert first == second == paths.cache / "thing-abc"
    assert (first / "result").read_text() == "done"
    assert len(made) == 1


def test_cached_leaves_nothing_when_making_fails(tmp_path: Path) -> None:
    paths = Paths(root=tmp_path, home=tmp_path / "home")
    paths.create()

    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(paths, "thing", "abc", fail)
    assert [path.name for path in paths.cache.iterdir()] == [".locks"]
