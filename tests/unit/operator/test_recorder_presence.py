"""Who is heard: gaps begin, end, and are withdrawn as Envoys come and go."""

from dataclasses import dataclass, field

import pytest

from hailstorm_operator.recorder.gaps import MARGIN_SECONDS, MAX_GAPS, Gap, GapLedger
from hailstorm_operator.recorder.presence import SILENCE_SECONDS, UNKNOWN_SECONDS, Answer, Presence
from hailstorm_operator.recorder.pulses import read_counter

FINE, DRAINING = Answer(0, False), Answer(0, True)
TARGET = "192.0.2.1:9902"


@dataclass
class Story:
    """A recorder that has been there for long, and one Envoy it has heard."""

    now: float = 1000.0
    gaps: GapLedger = field(default_factory=lambda: GapLedger(600))

    def __post_init__(self) -> None:
        self.presence = Presence(self.gaps, started=0.0)

    def seconds(
        self,
        count: int,
        *,
        pulses: bool = True,
        listed: bool = True,
        answer: Answer | None = FINE,
    ) -> None:
        """Rounds of a second each, in which the Envoy is listed, answers, is heard."""
        for _ in range(count):
            self.now += 1
            began, answered = self.now - 0.2, []
            if answer is not None:
                answered = [TARGET]
                self.presence.answered(TARGET, answer, began - 1, self.now)
            if pulses:
                self.presence.heard("edge-a", self.now)
                self.presence.pulsed("edge-a", TARGET, self.now)
            self.presence.review([TARGET] if listed else [], answered, began, self.now)

    def found(self) -> list[tuple[str, float, float | None]]:
        """Reason, start and end of each gap, without the margins, from the first second on."""
        return [
            (
                gap.reason,
                gap.start + MARGIN_SECONDS - 1000,
                None if gap.end is None else gap.end - MARGIN_SECONDS - 1000,
            )
            for gap in self.gaps.window(0, 10_000)
        ]


@pytest.fixture
def story() -> Story:
    made = Story()
    for _ in range(3):
        made.presence.opened("edge-a", made.now)
    made.seconds(5)
    assert not made.found()
    return made


def test_idle_envoy_is_no_gap(story: Story) -> None:
    story.seconds(60)
    assert not story.found()


def test_envoy_killed_is_a_gap_until_its_successor_is_heard(story: Story) -> None:
    for _ in range(3):
        story.presence.ended("edge-a", story.now + 0.1)
    story.seconds(4, pulses=False, answer=None)
    assert story.found() == [("StreamEnded", 5, None)]
    story.presence.opened("edge-a", story.now)
    assert story.found() == [("StreamEnded", 5, 9)]


def test_envoy_killed_that_never_comes_back_is_a_gap_until_it_is_gone(story: Story) -> None:
    story.presence.ended("edge-a", story.now + 0.1)
    story.seconds(3, pulses=False, answer=None)
    story.seconds(1, pulses=False, answer=None, listed=False)
    assert story.found() == [("StreamEnded", 5, 9)]
    story.seconds(10, pulses=False, answer=None, listed=False)
    assert not story.presence.envoys()


def test_stream_that_broke_and_came_back_within_a_round_is_a_gap(story: Story) -> None:
    story.presence.ended("edge-a", story.now + 0.1)
    story.now += 0.5
    story.presence.opened("edge-a", story.now)
    assert story.found() == [("StreamEnded", 5, 5.5)]


def test_envoy_that_drained_leaves_no_gap_though_dns_is_behind(story: Story) -> None:
    story.seconds(5, answer=DRAINING)
    for _ in range(3):
        story.presence.ended("edge-a", story.now + 0.1)
    story.seconds(6, pulses=False, answer=None)
    story.seconds(30, pulses=False, answer=None, listed=False)
    assert not story.found()
    assert not story.presence.envoys()


def test_successor_at_a_drained_envoys_address_is_watched(story: Story) -> None:
    story.seconds(2, answer=DRAINING)
    story.presence.ended("edge-a", story.now + 0.1)
    story.seconds(2, pulses=False, answer=None)
    story.seconds(6, pulses=False)
    assert [reason for reason, *_ in story.found()] == ["EnvoySilent"]


def test_answer_from_before_the_break_decides_nothing(story: Story) -> None:
    story.seconds(1, listed=False)
    # It answered, then ended, while the round was still on its way.
    story.presence.ended("edge-a", story.now + 0.9)
    story.presence.review([], [TARGET], story.now + 0.8, story.now + 1)
    assert not story.found()
    story.now += 1
    story.seconds(1, pulses=False, answer=None, listed=False)
    assert not story.found()


def test_silence_is_a_gap_while_it_lasts_and_none_when_all_came(story: Story) -> None:
    story.seconds(int(SILENCE_SECONDS) + 2, pulses=False)
    assert story.found() == [("EnvoySilent", 5, None)]
    story.seconds(1)
    assert not story.found()


def test_silence_that_ends_with_a_broken_stream_stays_a_gap(story: Story) -> None:
    story.seconds(int(SILENCE_SECONDS) + 2, pulses=False)
    story.presence.ended("edge-a", story.now)
    story.seconds(2, pulses=False, answer=None)
    story.presence.opened("edge-a", story.now)
    story.seconds(3)
    assert story.found() == [("StreamEnded", 5, 12)]


def test_lines_alone_do_not_end_a_silence(story: Story) -> None:
    story.seconds(int(SILENCE_SECONDS) + 2, pulses=False)
    story.presence.heard("edge-a", story.now)
    story.seconds(1, pulses=False)
    assert story.found() == [("EnvoySilent", 5, None)]


def test_dropped_lines_are_a_gap_between_two_questions(story: Story) -> None:
    story.seconds(1, answer=Answer(7, False))
    ((reason, start, end),) = story.found()
    assert reason == "EnvoyDroppedLines"
    assert (start, end) == (pytest.approx(4.8), 6)
    story.seconds(5, answer=Answer(7, False))
    # Its successor counts from nothing.
    story.seconds(5, answer=FINE)
    assert len(story.found()) == 1


def test_listed_envoy_that_never_reports_is_a_gap() -> None:
    story = Story()
    story.seconds(int(SILENCE_SECONDS) + 2, pulses=False, answer=None)
    assert story.found() == [("EnvoySilent", 1, None)]


def test_envoys_met_at_the_start_were_there_before() -> None:
    story = Story()
    story.presence = Presence(story.gaps, started=1000.0)
    story.seconds(1, pulses=False)
    assert story.found() == [("EnvoyNotYetHeard", 0, None)]
    story.seconds(1)
    assert {end for *_, end in story.found()} == {2}


def test_new_envoy_later_on_is_no_gap(story: Story) -> None:
    story.presence.opened("edge-b", story.now)
    story.seconds(1)
    assert not story.found()


def test_edge_in_no_service_is_missed_for_half_a_minute() -> None:
    story = Story()
    story.presence.opened("edge-x", story.now)
    story.presence.ended("edge-x", story.now + 1)
    for _ in range(int(UNKNOWN_SECONDS) + 5):
        story.now += 1
        story.presence.review(None, [], story.now - 0.1, story.now)
    ((reason, start, end),) = story.found()
    assert (reason, start) == ("StreamEnded", 0)
    assert end == pytest.approx(UNKNOWN_SECONDS, abs=2)
    assert not story.presence.envoys()


def test_gaps_are_bounded_and_cover_what_they_covered() -> None:
    gaps = GapLedger(10_000)
    for number in range(MAX_GAPS + 20):
        gaps.add(number * 10, number * 10 + 1, "edge-a", "StreamEnded")
    found = gaps.window(0, 100_000)
    assert len(found) <= MAX_GAPS + 1
    for number in range(MAX_GAPS + 20):
        assert any(gap.touches(number * 10, number * 10 + 1) for gap in found)


def test_open_gap_touches_everything_after_its_start() -> None:
    gap = Gap(100, None, "", "")
    assert gap.touches(50, 101)
    assert gap.touches(500, 501)
    assert not gap.touches(50, 100)
    assert not Gap(100, 110, "", "").touches(110, 120)


@pytest.mark.parametrize(
    ("text", "count"), [("access_logs.grpc_access_log.logs_dropped: 12\n", 12), ("", 0)]
)
def test_counter_of_dropped_lines_is_read(text: str, count: int) -> None:
    assert read_counter(text) == count
