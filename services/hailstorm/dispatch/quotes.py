"""
Quotes: a multiplier that is kept for a while, without keeping anything.

A quote's id is the quote: expiry and multiplier, and a MAC over them and what
they are for. Any pod that has the key can tell a good one from one that expired,
was made up, or was given to somebody else, and none has to remember it.

    version 1 | expiry 4 | multiplier x 100 2 | nonce 4 | MAC 16      bytes

in base64url: 36 characters, which a quote_id may hold.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass
from typing import Final

from hailstorm.dispatch.errors import QuoteExpiredError, QuoteUnknownError
from hailstorm.runtime.clock import Clock

_VERSION: Final = 1
_HEAD: Final = struct.Struct("!BIH4s")
# 128 bits: a forger has one try a call, and calls are counted.
_MAC_BYTES: Final = 16
# A rider who asked in time may have to repeat the call, and must get the same
# trip then. A guess: three taps and their deadlines.
GRACE_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Terms:
    """What a quote is for; it is good for nothing else. `cell` is the pickup's market cell."""

    city_id: str
    rider_id: str
    cell: int


class Quotes:
    """Gives quotes and knows its own again, on whichever pod they come back."""

    def __init__(self, key: str, ttl_seconds: float, clock: Clock) -> None:
        # The secret is for this use alone, whatever else may be made of it.
        self._key = hashlib.sha256(b"hailstorm quote v1\0" + key.encode()).digest()
        self._ttl_seconds = ttl_seconds
        self._clock = clock

    def give(self, terms: Terms, multiplier: float) -> tuple[str, int]:
        """A new quote: its id, and the second since 1970 at which it expires."""
        expires_at = int(self._clock.now() + self._ttl_seconds)
        nonce = secrets.token_bytes(4)
        head = _HEAD.pack(_VERSION, expires_at, round(multiplier * 100), nonce)
        return base64.urlsafe_b64encode(head + self._mac(head, terms)).decode(), expires_at

    def multiplier(self, quote_id: str, terms: Terms) -> float:
        """
        The multiplier of a quote that is good for these terms.

        Raises QuoteUnknownError for one that was never given for them, and
        QuoteExpiredError.
        """
        try:
            token = base64.b64decode(quote_id, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise QuoteUnknownError(quote_id) from None
        head, mac = token[: _HEAD.size], token[_HEAD.size :]
        if len(mac) != _MAC_BYTES or not hmac.compare_digest(mac, self._mac(head, terms)):
            raise QuoteUnknownError(quote_id)
        _, expires_at, hundredths, _ = _HEAD.unpack(head)
        if self._clock.now() > expires_at + GRACE_SECONDS:
            raise QuoteExpiredError(quote_id)
        return float(hundredths / 100)

    def _mac(self, head: bytes, terms: Terms) -> bytes:
        # Ids hold no NUL, so that no two terms are the same bytes.
        text = f"{terms.city_id}\0{terms.rider_id}\0{terms.cell:x}".encode()
        return hmac.new(self._key, head + text, hashlib.sha256).digest()[:_MAC_BYTES]
