"""A folder of flags, as a kubelet mounts it and as a person writes it."""

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.flags.feed import Feed
from hailstorm.runtime.flags.folder import FolderSource
from hailstorm.runtime.flags.live import LiveFlags


class Mount:
    """A mounted ConfigMap, replaced as a kubelet does: a new folder, and one link to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0

    def write(self, texts: dict[str, str]) -> None:
        self._number += 1
        version = self.folder / f"..version-{self._number}"
        version.mkdir()
        for name, text in texts.items():
            (version / name).write_text(text)
        link = self.folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.folder / "..data")
        for name in texts:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(Path("..data") / name)
        for path in self.folder.iterdir():
            if not path.name.startswith("..") and path.name not in texts:
                path.unlink()


@pytest.fixture
def flags() -> LiveFlags:
    return LiveFlags({"surge": bool, "other": bool}, CollectorRegistry())


@pytest.fixture
def source(flags: LiveFlags, tmp_path: Path) -> FolderSource:
    feed = Feed(flags, CollectorRegistry())
    return FolderSource(str(tmp_path), feed, SystemClock(), 1.0)


def test_mounted_config_map_is_followed(
    source: FolderSource, flags: LiveFlags, tmp_path: Path
) -> None:
    mount = Mount(tmp_path)
    # Values of equal length: only the inode, and perhaps the time, differ.
    for value in ("true ", "false", "true "):
        mount.write({"surge": value})
        source.look()
        assert flags.boolean("surge", value == "false") is (value == "true ")
    mount.write({"other": "true"})
    source.look()
    assert flags.boolean("surge", False) is False
    assert flags.boolean("other", False) is True


def test_file_written_over_with_the_same_length_and_time_is_noticed(
    source: FolderSource, flags: LiveFlags, tmp_path: Path
) -> None:
    (tmp_path / "surge").write_text("true ")
    stat = (tmp_path / "surge").stat()
    source.look()
    (tmp_path / "new").write_text("false")
    os.utime(tmp_path / "new", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (tmp_path / "new").rename(tmp_path / "surge")
    source.look()
    assert flags.boolean("surge", True) is False


def test_lost_folder_keeps_what_it_said(
    source: FolderSource, flags: LiveFlags, tmp_path: Path
) -> None:
    (tmp_path / "surge").write_text("false")
    source.look()
    away = tmp_path.with_name("away")
    tmp_path.rename(away)
    source.look()
    assert flags.boolean("surge", True) is False
    away.rename(tmp_path)
    (tmp_path / "surge").write_text("true")
    source.look()
    assert flags.boolean("surge", False) is True


def test_folder_that_does_not_exist_yet_is_taken_up(flags: LiveFlags, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    feed = Feed(flags, CollectorRegistry())
    source = FolderSource(str(folder), feed, SystemClock(), 1.0)
    source.look()
    folder.mkdir()
    (folder / "surge").write_text("false")
    source.look()
    assert flags.boolean("surge", True) is False


def test_file_that_is_no_text_keeps_what_was_said(
    source: FolderSource, flags: LiveFlags, tmp_path: Path
) -> None:
    (tmp_path / "surge").write_text("false")
    source.look()
    (tmp_path / "surge").write_bytes(b"\xff\xfe")
    source.look()
    assert flags.boolean("surge", True) is False


def test_folder_of_something_else_is_not_read(
    source: FolderSource, flags: LiveFlags, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (tmp_path / "swap").open("wb") as file:
        file.truncate(64 * 1024**3)
    source.look()
    assert flags.get("swap") is None
    assert "swap has 68719476736 bytes and is no flag" in caplog.text


def test_folders_and_dotted_files_are_no_flags(
    source: FolderSource, flags: LiveFlags, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / ".surge.swp").write_text("false")
    (tmp_path / "surge").write_text("false")
    source.look()
    assert flags.boolean("surge", True) is False
    assert flags.get("folder") is None
    assert flags.get(".surge.swp") is None
