"""The mirror in the host's own sources, in both of apt's formats."""

from pathlib import Path

import pytest

from hailstorm_platform.apt import (
    Source,
    choose_mirror,
    debian_mirror,
    parse_deb822,
    parse_one_line,
)
from hailstorm_platform.errors import PlatformError

# Names under example.org stand for mirrors: the project names none.
DEB822 = """\
Types: deb
# a comment within a stanza
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.org/debian-security
Suites: bookworm-security
Components: main

Types: deb-src
URIs: http://sources.example.org/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.example.org/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://commented.example.org/debian bookworm main
deb [arch=amd64 signed-by=/k] https://vendor.example.org/apt stable main
deb [ trusted=yes ] http://mirror.example.org/debian/ bookworm main contrib # note
deb-src http://sources.example.org/debian bookworm main
"""


def test_deb822_keeps_enabled_binary_stanzas() -> None:
    assert parse_deb822(DEB822) == [
        Source("http://mirror.example.org/debian", ("bookworm", "bookworm-updates"), ("main",)),
        Source("http://mirror.example.org/debian-security", ("bookworm-security",), ("main",)),
    ]


def test_deb822_joins_continuation_lines_and_several_addresses() -> None:
    text = "Types: deb deb-src\nURIs: http://a.example.org\n http://b.example.org\nSuites: sid\n"
    assert [source.uri for source in parse_deb822(text)] == [
        "http://a.example.org",
        "http://b.example.org",
    ]


def test_one_line_format_skips_options_comments_and_sources() -> None:
    assert parse_one_line(ONE_LINE) == [
        Source("https://vendor.example.org/apt", ("stable",), ("main",)),
        Source("http://mirror.example.org/debian/", ("bookworm",), ("main", "contrib")),
    ]


def test_mirror_is_the_one_with_the_whole_suite() -> None:
    sources = parse_one_line(ONE_LINE)
    assert choose_mirror(sources, "bookworm") == "http://mirror.example.org/debian"
    assert choose_mirror(sources, "trixie") is None
    assert choose_mirror([Source("file:/mirror", ("sid",), ("main",))], "sid") is None


def lay_out(etc: Path, release: str) -> Path:
    (etc / "apt" / "sources.list.d").mkdir(parents=True)
    (etc / "os-release").write_text(release)
    (etc / "apt" / "sources.list.d" / "debian.sources").write_text(DEB822)
    return etc


def test_mirror_is_found_on_debian(tmp_path: Path) -> None:
    etc = lay_out(tmp_path, 'ID=debian\nVERSION_CODENAME=bookworm\nHOME_URL="x=y"\n')
    assert debian_mirror({}, etc) == "http://mirror.example.org/debian"


def test_mirror_must_be_given_when_the_host_is_no_debian(tmp_path: Path) -> None:
    etc = lay_out(tmp_path, "ID=ubuntu\nVERSION_CODENAME=bookworm\n")
    with pytest.raises(PlatformError, match="HAILSTORM_DEBIAN_MIRROR"):
        debian_mirror({}, etc)
    given = {"HAILSTORM_DEBIAN_MIRROR": "http://own.example.org/debian/"}
    assert debian_mirror(given, etc) == "http://own.example.org/debian"
