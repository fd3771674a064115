"""What a flag's text means, and what is said of one that means nothing."""

import json

import pytest

from hailstorm.runtime.flags.values import FlagError, Kind, parse_flag

WORDS = ("ring", "geosearch")


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("true", bool, True),
        ("  false\n", bool, False),
        ("ring", WORDS, "ring"),
        ('"geosearch"', WORDS, "geosearch"),
        ('{"value": true}', bool, True),
        ('{"value": "ring", "rules": []}', WORDS, "ring"),
        # Of flags that others read, anything goes.
        ("true", None, True),
        ("whatever", None, "whatever"),
    ],
)
def test_text_is_read(text: str, kind: Kind | None, value: bool | str) -> None:
    assert parse_flag(text, kind).of({}) == value


@pytest.mark.parametrize(
    ("text", "kind", "reason", "words"),
    [
        ("", bool, "wrong_type", 'is ""; write true or false'),
        ("flase", bool, "wrong_type", 'is "flase"; write true or false'),
        ("True", bool, "wrong_type", 'is "True"; write true or false'),
        ("1", bool, "wrong_type", "write true or false"),
        ('{"value": "true"}', bool, "wrong_type", "write true or false"),
        ('{"value": 1}', bool, "wrong_type", "is 1; write true or false"),
        ("true", WORDS, "wrong_type", "is true; write ring, or"),
        ("rnig", WORDS, "unknown_word", 'is "rnig"; write one of: ring, geosearch'),
        ('{"value": true', bool, "malformed", "is not JSON"),
        ('"ring', WORDS, "malformed", "is not JSON"),
        ("{" * 100_000, bool, "malformed", "is not JSON"),
        ('{"a":' * 100_000, bool, "malformed", "is not JSON"),
        ("{}", bool, "wrong_type", "is null; write true or false"),
        ('{"value": true, "rule": []}', bool, "malformed", 'has ["rule"] beside'),
        ('{"value": true, "rules": {}}', bool, "malformed", "rules that are no list"),
        ('{"value": true, "rules": [{"value": false}]}', bool, "malformed", "has the rule"),
        ('{"value": true, "rules": [{"cell": "a"}]}', bool, "malformed", "has the rule"),
        ('{"value": true, "rules": ["a"]}', bool, "malformed", "has the rule"),
        ('{"value": true, "rules": [{"cell": 1, "value": true}]}', bool, "malformed", "a text"),
        ('{"value": true, "rules": [{"cell": [], "value": true}]}', bool, "malformed", "a text"),
        ('{"value": true, "rules": [{"cell": [1], "value": true}]}', bool, "malformed", "a text"),
        (
            '{"value": true, "rules": [{"cell": ["a"], "city": ["b"], "value": true}]}',
            bool,
            "malformed",
            "write one list a rule",
        ),
        (
            '{"value": true, "rules": [{"cell": "a", "value": "off"}]}',
            bool,
            "wrong_type",
            "true or",
        ),
    ],
)
def test_text_without_meaning_is_refused_with_the_cure(
    text: str, kind: Kind, reason: str, words: str
) -> None:
    with pytest.raises(FlagError) as caught:
        parse_flag(text, kind)
    assert caught.value.reason == reason
    assert words in str(caught.value)
    # It goes to a log line, whatever somebody pasted.
    assert len(str(caught.value)) < 300


def test_cure_can_be_pasted() -> None:
    for kind in (bool, WORDS):
        with pytest.raises(FlagError) as caught:
            parse_flag('{"value"', kind)
        plain, _, document = str(caught.value).rpartition("; write ")[2].partition(", or ")
        assert not parse_flag(plain, kind).has_rules
        assert parse_flag(document, kind).has_rules


def flag(value: bool, *rules: dict[str, object]) -> str:
    return json.dumps({"value": value, "rules": rules})


def test_rule_holds_where_each_of_its_words_does() -> None:
    read = parse_flag(flag(True, {"cell": "a", "city": "nyc", "value": False}), bool)
    assert read.of({"cell": "a", "city": "nyc"}) is False
    assert read.of({"cell": "a", "city": "nyc", "more": "x"}) is False
    assert read.of({"cell": "a"}) is True
    assert read.of({"cell": "a", "city": "paris"}) is True
    assert read.of({}) is True


def test_first_rule_that_holds_counts() -> None:
    read = parse_flag(
        flag(
            True,
            {"cell": "a", "city": "nyc", "value": True},
            {"city": "nyc", "value": False},
            {"cell": "b", "value": True},
            {"cell": "a", "city": "nyc", "value": False},
        ),
        bool,
    )
    assert read.of({"cell": "a", "city": "nyc"}) is True
    assert read.of({"cell": "c", "city": "nyc"}) is False
    # The rule of the city stands before that of the cell.
    assert read.of({"cell": "b", "city": "nyc"}) is False
    assert read.of({"cell": "b", "city": "paris"}) is True


def test_rule_may_name_many_cells() -> None:
    cells = [f"cell-{i}" for i in range(5000)]
    read = parse_flag(flag(True, {"cell": cells, "city": "nyc", "value": False}), bool)
    assert all(read.of({"cell": cell, "city": "nyc"}) is False for cell in cells)
    assert read.of({"cell": "cell-5000", "city": "nyc"}) is True
