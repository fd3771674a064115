"""
Whether a ServiceScaler's targetInFlight still holds for what its target runs. Pure.

`hailstorm calibrate` measures the figure at one image and notes it in an
annotation. Another image may be faster or slower, which nobody knows until it is
measured, so the operator goes on with the old figure and says that it is old.
"""

import json
from collections.abc import Mapping
from typing import Any

from hailstorm_operator import api
from hailstorm_operator.conditions import Condition


def calibration_condition(
    annotations: Mapping[str, str], images: Mapping[str, str], target_in_flight: float
) -> Condition:
    """
    The condition CalibrationStale of a ServiceScaler.

    `images` are those of the target's containers, by name, none where the target is
    not known; without an annotation nothing is stale, since nothing was measured.
    """
    kind = api.CONDITION_CALIBRATION
    text = annotations.get(api.CALIBRATION_ANNOTATION)
    if text is None:
        return Condition(
            kind, False, api.REASON_NOT_CALIBRATED, "targetInFlight was written by hand"
        )
    try:
        note = json.loads(text)
        at, measured, target = str(note["at"]), dict(note["images"]), float(note["targetInFlight"])
    except (ValueError, KeyError, TypeError) as error:
        why = f"annotation {api.CALIBRATION_ANNOTATION} cannot be read: {error}"
        return Condition(kind, True, api.REASON_CALIBRATION_BROKEN, why)
    changed = [
        f"{name} runs {images.get(name, 'nothing')}, measured was {image}"
        for name, image in sorted(measured.items())
        if images and images.get(name) != image
    ]
    if changed:
        why = f"calibrated {at}: {'; '.join(changed)}. Run hailstorm calibrate again"
        return Condition(kind, True, api.REASON_IMAGE_CHANGED, why)
    if target != target_in_flight:
        why = f"calibrated {at} to {target:g}, targetInFlight is {target_in_flight:g}"
        return Condition(kind, True, api.REASON_TARGET_CHANGED, why)
    return Condition(kind, False, api.REASON_CALIBRATED, f"calibrated {at}")


def images_of(deployment: Mapping[str, Any]) -> dict[str, str]:
    """Image by container, of a Deployment's template."""
    containers = (deployment["spec"].get("template") or {}).get("spec", {}).get("containers") or []
    return {str(one["name"]): str(one.get("image", "")) for one in containers}
