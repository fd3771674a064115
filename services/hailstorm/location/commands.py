"""What is asked of Redis: commands, and the scripts behind some of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from hailstorm.runtime.errors import UnavailableError


class StoreUnavailableError(UnavailableError):
    """Redis does not answer. A read may be repeated; a write may have happened."""

    reason = "REDIS_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, known to Redis by its digest."""

    text: str
    digest: str

    @classmethod
    def of(cls, text: str) -> "Script":
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    def call(self, keys: Sequence[str], arguments: Sequence[str | int | float]) -> "Command":
        """A command that runs the script; all `keys` carry one tag."""
        return Command(("EVALSHA", self.digest, len(keys), *keys, *arguments), self)


@dataclass(frozen=True, slots=True)
class Command:
    """One command, with the script that it may have to load first."""

    words: tuple[str | int | float, ...]
    script: Script | None = None

    @property
    def key(self) -> str:
        """The first key; all of a command's lie in one slot."""
        return str(self.words[1] if self.script is None else self.words[3])
