"""
What a calibration found, as it is told and as it is kept on the ServiceScaler.

`spec.targetInFlight` is what the scaler goes by. Where it comes from lies in an
annotation beside it, with the images that it holds for: the operator compares
them with the Deployment's and says when the figure is stale.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hailstorm_drills.calibration.knee import Knee, Level
from hailstorm_drills.calibration.usl import Fit
from hailstorm_operator import api


@dataclass(frozen=True)
class Result:
    """A knee and a fit of one Deployment's pod. `at` is ISO time; images by container."""

    deployment: str
    images: Mapping[str, str]
    method: str
    at: str
    knee: Knee
    fit: Fit
    levels: Sequence[Level]

    @property
    def target_in_flight(self) -> int:
        """Calls in flight at which one pod is at its knee."""
        return self.knee.level.concurrency

    def note(self) -> dict[str, Any]:
        """The content of the annotation."""
        return {
            "at": self.at,
            "images": dict(self.images),
            "targetInFlight": self.target_in_flight,
            "method": self.method,
            "sloMs": round(self.knee.slo_ms, 1),
            "knee": {
                "throughput": self.knee.level.throughput,
                "p99Ms": self.knee.level.p99_ms,
                "past": self.knee.past.concurrency,
                "why": self.knee.why,
            },
            "usl": self.fit.as_json(),
            "levels": [[one.concurrency, one.throughput, one.p99_ms] for one in self.levels],
        }

    def patch(self) -> dict[str, Any]:
        """A merge patch of the ServiceScaler."""
        return {
            "metadata": {
                "annotations": {
                    api.CALIBRATION_ANNOTATION: json.dumps(self.note(), separators=(",", ":"))
                }
            },
            "spec": {"targetInFlight": self.target_in_flight},
        }

    def render(self) -> str:
        """For a terminal."""
        rows = ["in flight  calls/s  fitted   p99 ms  failed"]
        for one in self.levels:
            p99 = "-" if one.p99_ms is None else f"{one.p99_ms:.1f}"
            fitted = self.fit.throughput(one.concurrency)
            rows.append(
                f"{one.concurrency:>9}  {one.throughput:>7.1f}  {fitted:>6.1f}  {p99:>7}"
                f"  {one.failed:>6}"
            )
        fit, peak = self.fit, self.fit.peak
        where = "none, it grows for ever" if peak is None else f"{peak:.1f} in flight"
        rows += [
            "",
            f"knee: {self.target_in_flight} in flight, {self.knee.level.throughput:.0f} calls/s, "
            f"p99 {self.knee.level.p99_ms:.0f} ms; at {self.knee.past.concurrency} {self.knee.why}",
            f"USL: gamma {fit.gamma:.2f} calls/s, sigma {fit.sigma:.4f}, kappa {fit.kappa:.5f}, "
            f"peak {where}, r2 {fit.r2:.3f}",
            "images: " + ", ".join(f"{name}={image}" for name, image in self.images.items()),
        ]
        return "\n".join(rows)


def images_of_template(deployment: Mapping[str, Any]) -> dict[str, str]:
    """Image by container of the pods a Deployment makes."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return {container["name"]: container["image"] for container in containers}
