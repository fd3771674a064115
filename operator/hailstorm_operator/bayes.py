"""
The one piece of mathematics of the gate: a Bayes factor that may be looked at at any time.

Of n events, x fell on the side under suspicion. If nothing is wrong, each event
falls there with a probability that is known beforehand (for failures: the share
of the calls that went there in that second). The factor says how much better
"there is some other probability, and I know nothing about it" explains what was
seen than "nothing is wrong" does:

    BF = [B(a + x, b + n - x) / B(a, b)]  /  prod_i p_i^x_i (1 - p_i)^(n_i - x_i)

With one p for all events that is the formula of DESIGN 5. Under "nothing is
wrong" BF is a martingale with mean 1, whatever the p_i do, so by Ville's
inequality it ever reaches 1/alpha with a probability of at most alpha, however
often one looks. That is what lets the operator look twice a second.
"""

from functools import lru_cache
from math import exp, lgamma, log
from typing import Final

# Every probability is as likely as any other beforehand. benchmarks/gate.py has
# what other priors would do: none is better at every size of defect.
PRIOR_A: Final = 1.0
PRIOR_B: Final = 1.0


class Evidence:
    """
    Events so far, each with the probability it had of falling on the suspect.

    Adding is all there is to it: the order of events within a look does not matter.
    """

    def __init__(self) -> None:
        self.on_suspect = 0.0
        self.total = 0.0
        self.expected = 0.0
        self._log_null = 0.0

    def add(
        self, on_suspect: float, total: float, probability: float, most: float | None = None
    ) -> None:
        """
        Add events of one second. A probability of 0 or 1 compares nothing and is left out.

        `most` bounds what one second can say: with more events on the suspect than
        that, all events of the second weigh less, by the same factor, so that what
        they say of the proportion stays true. Weighing less can only make BF smaller
        in expectation, so the bound on false alarms holds.
        """
        if total <= 0 or not 0 < probability < 1:
            return
        if most is not None and on_suspect > most:
            on_suspect, total = most, total * most / on_suspect
        self.on_suspect += on_suspect
        self.total += total
        self.expected += total * probability
        elsewhere = total - on_suspect
        self._log_null += on_suspect * log(probability) + elsewhere * log(1 - probability)

    @property
    def log_factor(self) -> float:
        """Natural logarithm of BF; 0 without events."""
        x, n = self.on_suspect, self.total
        return (
            _log_beta(PRIOR_A + x, PRIOR_B + n - x) - _log_beta(PRIOR_A, PRIOR_B) - self._log_null
        )

    @property
    def factor(self) -> float:
        """BF, cut at 1e12: beyond that a figure says no more."""
        return exp(min(self.log_factor, 12 * log(10)))

    @property
    def leans_to_suspect(self) -> bool:
        """Whether the suspect has more than its share; BF alone would also count less."""
        return self.on_suspect > self.expected

    def reaches(self, alpha: float) -> bool:
        """Whether the suspect has more than its share with BF >= 1/alpha."""
        return self.leans_to_suspect and self.log_factor >= -log(alpha)


@lru_cache(maxsize=4096)
def fewest_events(probability: float, alpha: float) -> int:
    """How many events, all of them on the suspect, are the least that can decide."""
    evidence, count = Evidence(), 0
    # Near 1 no number may do; a thousand says as much.
    while not evidence.reaches(alpha) and count < 1000:
        evidence.add(1, 1, probability)
        count += 1
    return count


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
