"""A `helm upgrade` to the next version rolls all services, and is on record."""

from typing import Any

from eventually import eventually

SERVICES = {"dispatch", "location", "trip"}


def records(installed: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = installed.get("rolloutrecords", "-n", "hailstorm")["items"]
    return items


async def test_upgrade_rolls_and_is_on_record(installed: Any) -> None:
    before = {record["metadata"]["name"] for record in records(installed)}
    installed.upgrade(images=installed.next_images_values)

    def new() -> list[dict[str, Any]]:
        return [r for r in records(installed) if r["metadata"]["name"] not in before]

    found = await eventually(
        new,
        90,
        until=lambda rs: (
            {r["spec"]["targetRef"]["name"] for r in rs} >= SERVICES
            and all(r.get("status", {}).get("outcome") for r in rs)
        ),
    )
    rolled = [r for r in found if r["spec"]["targetRef"]["name"] in SERVICES]
    assert len(rolled) == len(SERVICES), "one record for each service, not two"
    for record in rolled:
        assert record["spec"]["trigger"]["kind"] == "rollout"
        assert record["status"]["pods"], "every pod has its time line"
    table = installed.kubectl("get", "servicescalers,rolloutrecords", "-n", "hailstorm")
    assert all(service in table for service in SERVICES)


async def test_scaler_keeps_its_minimum(installed: Any) -> None:
    def replicas() -> dict[str, int]:
        items = installed.get("deploy", "-n", "hailstorm", *SERVICES)["items"]
        return {d["metadata"]["name"]: d["status"].get("readyReplicas", 0) for d in items}

    assert await eventually(replicas, 120, until=lambda r: set(r.values()) == {2})
