"""A result is found among whatever else a container wrote."""

import json

import pytest

from cluster.example.fortio_result import read_result

RESULT = {
    "RunType": "GRPC Ping",
    "DurationHistogram": {"Count": 2, "Data": [{"Start": 0.1, "Count": 2}]},
    "RetCodes": {"SERVING": 2},
}
DOCUMENT = json.dumps(RESULT, indent=2).splitlines()
# An entry of its log, and what it says when it has written the result.
LOG = '{"ts":1764000000.5,"level":"warn","r":12,"file":"x.go","line":1,"msg":"Error {"}'
WORDS = "Successfully wrote 1722 bytes of Json data to stdout"


@pytest.mark.parametrize("stray", [LOG, WORDS])
@pytest.mark.parametrize("place", range(len(DOCUMENT) + 1))
def test_result_is_read_wherever_another_line_falls(place: int, stray: str) -> None:
    lines = [*DOCUMENT[:place], stray, *DOCUMENT[place:]]
    assert read_result("\n".join(lines)) == RESULT


def test_other_documents_are_no_result() -> None:
    assert read_result("\n".join(["{", "}", *DOCUMENT, "{", "}"])) == RESULT


def test_missing_result_fails_with_what_was_written() -> None:
    with pytest.raises(AssertionError, match=r"Error \{"):
        read_result(LOG)


def test_result_that_was_cut_off_is_none() -> None:
    with pytest.raises(AssertionError, match="wrote no result"):
        read_result("\n".join(DOCUMENT[:-1]))
