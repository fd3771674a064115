"""
How hard property tests try: HAILSTORM_TEST_PROFILE is ci (by default) or nightly.

In ci the examples are the same in every run: a change is judged by itself and
not by its luck. Nightly draws others each night, and prints how to draw them
again. A test that is slow for each example asks for a share of them.
"""

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings

EXAMPLES: Final = {"ci": 100, "nightly": 3000}
PROFILE: Final = os.environ.get("HAILSTORM_TEST_PROFILE", "ci")


def load_profile() -> None:
    """Make the profile the default; KeyError when there is none of that name."""
    common = {
        "max_examples": EXAMPLES[PROFILE],
        # A busy machine is slow, which says nothing about the code.
        "deadline": None,
        "suppress_health_check": [HealthCheck.too_slow],
    }
    # Examples of earlier runs lie in a folder, and would be tried first.
    settings.register_profile("ci", derandomize=True, database=None, **common)
    settings.register_profile(
        "nightly",
        print_blob=True,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.target, Phase.shrink),
        **common,
    )
    settings.load_profile(PROFILE)


def share_of_examples(divisor: int) -> int:
    """How many examples a test gets of which each takes so many times longer."""
    return max(1, EXAMPLES[PROFILE] // divisor)
