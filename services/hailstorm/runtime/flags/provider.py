"""
The same flags for whoever speaks OpenFeature.

OpenFeature's client costs about 8 µs a question, ours 0.3, and a request asks
several; so decisions ask `LiveFlags` itself, and this is the border for hooks,
libraries and tools that know the standard. Both give the same answers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from hailstorm.runtime.flags.live import LiveFlags

T = TypeVar("T", bool, str)


class LiveProvider(AbstractProvider):
    """OpenFeature's provider over `flags`; tells its listeners of changes."""

    def __init__(self, flags: LiveFlags) -> None:
        super().__init__()
        self._flags = flags
        flags.on_change(self._changed)

    def get_metadata(self) -> Metadata:
        return Metadata(name="hailstorm")

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        return self._resolve(flag_key, default_value, bool, evaluation_context)

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        return self._resolve(flag_key, default_value, str, evaluation_context)

    def resolve_integer_details(
        self,
        flag_key: str,
        default_value: int,
        evaluation_context: EvaluationContext | None = None,  # noqa: ARG002
    ) -> FlagResolutionDetails[int]:
        return self._other(flag_key, default_value)

    def resolve_float_details(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,  # noqa: ARG002
    ) -> FlagResolutionDetails[float]:
        return self._other(flag_key, default_value)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,  # noqa: ARG002
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        return self._other(flag_key, default_value)

    def _resolve(
        self, name: str, default: T, kind: type[T], context: EvaluationContext | None
    ) -> FlagResolutionDetails[T]:
        flag = self._flags.get(name)
        if flag is None:
            return FlagResolutionDetails(default, reason=Reason.DEFAULT)
        words = {} if context is None else context.attributes
        value = flag.of({key: word for key, word in words.items() if isinstance(word, str)})
        if not isinstance(value, kind):
            raise TypeMismatchError(f"flag {name} is {value!r}, and no {kind.__name__}")
        reason = Reason.TARGETING_MATCH if flag.has_rules else Reason.STATIC
        return FlagResolutionDetails(value, reason=reason)

    def _other(self, name: str, default: Any) -> FlagResolutionDetails[Any]:
        if self._flags.get(name) is None:
            return FlagResolutionDetails(default, reason=Reason.DEFAULT)
        raise TypeMismatchError(f"flag {name} is true, false or a word")

    def _changed(self, names: frozenset[str]) -> None:
        self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=sorted(names)))


def register(flags: LiveFlags) -> None:
    """Make `flags` what `openfeature.api.get_client()` of this process asks."""
    api.set_provider_and_wait(LiveProvider(flags))
