"""Arms of a comparison as they might have been recorded, for tests of what is made of them."""

from hailstorm_drills.comparison.recording import LoadSeen, Origin, Recording, Sample
from hailstorm_drills.comparison.settings import OURS, Settings

START = 1_000.0
WHEN = "1970-01-01T00:16:40Z"
SETTINGS = Settings(hold_seconds=30)
HERE = Origin("cluster-1", "commit-1")
IMAGES = {"drills": "d:a", "envoy": "e:c", "operator": "o:b"}


def make_recording(
    arm=OURS,
    *,
    slow_for=0.0,
    serve_after=0.5,
    settings=SETTINGS,
    code="OK",
    lag=1,
    origin=HERE,
    start=START,
):
    """A step of 30 s at 10/s to 50/s; slow for so long after it, five pods after `serve_after`."""
    rates = tuple(10.0 if second < 30 else 50.0 for second in range(settings.seconds))
    samples = []
    for second, rate in enumerate(rates):
        for number in range(int(rate)):
            due = second + number / rate
            is_slow = 30 <= due < 30 + slow_for
            ok = "OK" if not is_slow else code
            samples.append(Sample(due, lag, 500.0 if is_slow else 60.0, ok))
    return Recording(
        arm=arm,
        settings=settings.of_arm(arm),
        images=IMAGES,
        origin=origin,
        load=LoadSeen(start, rates, tuple(samples), 1.0),
        serving=((start - 20, 2), (start + 30 + serve_after, 5)),
        desired=((start - 20, 2), (start + 31, 5)),
        pods=((start - 20, start + 100), (start + 40, start + 50)),
        spares=0,
    )
