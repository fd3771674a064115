"""Fires shots at a process, and keeps what was wrong with the answers."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from integration.fuzz.shots import Fuzzer, Shot

# As many as a busy pod has in flight, and fewer than it sheds at (256).
CONCURRENCY: Final = 48
# Messages of a stream that are read before it is left.
STREAM_MESSAGES: Final = 2
# What no request deserves, and what a healthy store gives no cause for.
DEFECTS: Final = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE"})
# Connections, each with its share of the calls.
LANES: Final = 4


class Gunner:
    """
    Fires at one target.

    Attributes:
        codes: how often each code was answered, by kind of shot.
        complaints: what was wrong, with the shot that shows it.
    """

    def __init__(self, target: str, fuzzer: Fuzzer) -> None:
        self.codes: Counter[tuple[str, str]] = Counter()
        self.complaints: list[str] = []
        self._fuzzer = fuzzer
        self._target = target

    async def fire(self, shots: Iterable[Shot], at_once: int = CONCURRENCY) -> None:
        """Fire all of them, `at_once` at a time; returns when the last one has ended."""
        places = asyncio.Semaphore(at_once)
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1))
        channels = [grpc.aio.insecure_channel(self._target, options=options) for _ in range(LANES)]
        try:
            async with asyncio.TaskGroup() as group:
                for number, shot in enumerate(shots):
                    await places.acquire()
                    task = group.create_task(self._one(channels[number % LANES], shot))
                    task.add_done_callback(lambda _: places.release())
        finally:
            for channel in channels:
                await channel.close()

    async def _one(self, channel: Any, shot: Shot) -> None:
        try:
            if shot.is_stream:
                await self._stream(channel, shot)
            else:
                call = channel.unary_unary(shot.path)
                answer = await call(shot.payload, timeout=shot.timeout, metadata=shot.metadata)
                self._answered(shot, answer)
        except grpc.aio.AioRpcError as error:
            self._refused(shot, error)

    async def _stream(self, channel: Any, shot: Shot) -> None:
        call = channel.unary_stream(shot.path)(
            shot.payload, timeout=shot.timeout, metadata=shot.metadata
        )
        try:
            for _ in range(STREAM_MESSAGES):
                answer = await call.read()
                if answer is grpc.aio.EOF:
                    break
                self._answered(shot, answer)
        finally:
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await call.code()

    def _answered(self, shot: Shot, answer: bytes) -> None:
        self.codes[shot.kind, "OK"] += 1
        if shot.method is None:
            self.complaints.append(f"{shot.path} was answered")
            return
        message = shot.method.response.FromString(answer)
        self._fuzzer.remember(message)

    def _refused(self, shot: Shot, error: grpc.aio.AioRpcError) -> None:
        name = error.code().name
        self.codes[shot.kind, name] += 1
        if name in DEFECTS:
            self._complain(shot, f"{name}: {error.details()}")
        elif name == "INVALID_ARGUMENT":
            self._check_details(shot, error)
        elif name == "UNIMPLEMENTED" and shot.method is None:
            pass
        elif shot.method is None and name not in ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"):
            self._complain(shot, f"{name} for a method that is not there")

    def _check_details(self, shot: Shot, error: grpc.aio.AioRpcError) -> None:
        """Every wrong field is named by its path in the request."""
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        bad = error_details_pb2.BadRequest()
        if status is None or not any(d.Unpack(bad) for d in status.details):
            self._complain(shot, "INVALID_ARGUMENT without a BadRequest")
            return
        for violation in bad.field_violations:
            if not violation.field:
                if _is_readable(shot):
                    self._complain(shot, f"no field is named: {violation.description}")
            elif shot.method and not names_field(shot.method.request, violation.field):
                self._complain(shot, f"there is no field {violation.field}")
            if not violation.description:
                self._complain(shot, f"{violation.field}: nothing is said about it")

    def _complain(self, shot: Shot, what: str) -> None:
        said = str(shot.message if shot.message is not None else shot.payload)[:600]
        self.complaints.append(f"{shot.path} ({shot.kind}): {what}\n{said}")


def names_field(message: Any, path: str) -> bool:
    """Whether `path`, as in `positions[3].driver_id`, is one of the message's fields."""
    here = message.DESCRIPTOR
    for part in path.split("."):
        name = re.sub(r"\[\d+\]$", "", part)
        if here is None or name not in here.fields_by_name:
            return False
        here = here.fields_by_name[name].message_type
    return True


def _is_readable(shot: Shot) -> bool:
    assert shot.method is not None, "a method that is not there finds no field wrong"
    try:
        shot.method.request.FromString(shot.payload)
    except Exception:
        # What protobuf raises depends on its implementation.
        return False
    return True
