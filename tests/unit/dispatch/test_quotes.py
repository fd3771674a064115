"""Quotes that any pod knows again, and nobody can make."""

import base64
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hailstorm.dispatch.errors import QuoteExpiredError, QuoteUnknownError
from hailstorm.dispatch.quotes import GRACE_SECONDS, Quotes, Terms
from hailstorm.runtime.violations import is_id

TERMS = Terms("nyc", "rider-1", 0x882A100D2DFFFFF)
TTL = 120


class StillClock:
    """A time that the test sets."""

    def __init__(self) -> None:
        self.time = 1_400_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("quotes do not wait")


def quotes(clock: StillClock | None = None, key: str = "secret") -> Quotes:
    return Quotes(key, TTL, clock or StillClock())


@given(st.integers(10, 30), st.text("abc:._-", min_size=1, max_size=64))
def test_quote_is_an_id_and_is_known_on_another_pod(tenths: int, rider_id: str) -> None:
    terms = dataclasses.replace(TERMS, rider_id=rider_id)
    quote_id, expires_at = quotes().give(terms, tenths / 10)
    assert is_id(quote_id)
    assert expires_at == 1_400_000_000 + TTL
    assert quotes().multiplier(quote_id, terms) == tenths / 10


def test_each_quote_has_an_id_of_its_own() -> None:
    mine = quotes()
    assert mine.give(TERMS, 1.0)[0] != mine.give(TERMS, 1.0)[0]


@pytest.mark.parametrize(
    "change", [{"city_id": "boston"}, {"rider_id": "rider-2"}, {"cell": TERMS.cell + 1}]
)
def test_quote_is_good_for_nobody_and_nowhere_else(change: dict[str, object]) -> None:
    quote_id, _ = quotes().give(TERMS, 1.5)
    with pytest.raises(QuoteUnknownError):
        quotes().multiplier(quote_id, dataclasses.replace(TERMS, **change))  # type: ignore[arg-type]


def test_quote_of_another_key_is_unknown() -> None:
    quote_id, _ = quotes(key="other").give(TERMS, 1.5)
    with pytest.raises(QuoteUnknownError):
        quotes().multiplier(quote_id, TERMS)


def test_quote_with_any_bit_changed_is_unknown() -> None:
    quote_id, _ = quotes().give(TERMS, 3.0)
    token = base64.urlsafe_b64decode(quote_id)
    for bit in range(len(token) * 8):
        changed = bytearray(token)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(QuoteUnknownError):
            quotes().multiplier(base64.urlsafe_b64encode(changed).decode(), TERMS)


@given(st.text("abcXYZ019-_.:", min_size=1, max_size=64))
def test_made_up_quote_is_unknown(quote_id: str) -> None:
    with pytest.raises(QuoteUnknownError):
        quotes().multiplier(quote_id, TERMS)


def test_quote_is_kept_until_it_expires_and_for_the_repetitions_of_a_call() -> None:
    clock = StillClock()
    mine = quotes(clock)
    quote_id, expires_at = mine.give(TERMS, 1.5)
    clock.time = expires_at + GRACE_SECONDS
    assert mine.multiplier(quote_id, TERMS) == 1.5
    clock.time += 1
    with pytest.raises(QuoteExpiredError):
        mine.multiplier(quote_id, TERMS)
