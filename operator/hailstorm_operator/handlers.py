"""
The kopf handlers: each passes a raw watch event on and returns.

Only `on.event`, because every other kind of handler writes annotations or
finalizers onto what it watches, and nothing may be written onto Deployments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import kopf

from hailstorm_operator import api, metrics
from hailstorm_operator.inventory import Inventory
from hailstorm_operator.leadership import LEASE_NAME
from hailstorm_operator.ledger import Ledger
from hailstorm_operator.policies import Policies
from hailstorm_operator.pulse import Pulse
from hailstorm_operator.roster import Roster


@dataclass
class Parts:
    """What the handlers feed. Filled by the startup activity, before any event."""

    pulse: Pulse
    inventory: Inventory
    ledger: Ledger | None = None
    roster: Roster | None = None
    policies: Policies | None = None


def register_handlers(registry: kopf.OperatorRegistry, parts: Parts) -> None:
    """Register a handler for each kind that is watched."""

    def counted(kind: str, event: Any) -> tuple[dict[str, Any], str | None]:
        metrics.WATCH_EVENTS.labels(kind).inc()
        parts.pulse.event_seen()
        return dict(event["object"]), event["type"]

    @kopf.on.event("apps", "v1", "deployments", registry=registry)
    async def see_deployment(event: Any, **_: Any) -> None:
        body, kind = counted("Deployment", event)
        parts.inventory.show_deployment(body, deleted=kind == "DELETED")
        if parts.ledger is not None:
            parts.ledger.show_deployment(body, kind)
        if parts.policies is not None:
            parts.policies.show_deployment(body)

    @kopf.on.event("", "v1", "pods", registry=registry)
    async def see_pod(event: Any, **_: Any) -> None:
        body, kind = counted("Pod", event)
        parts.inventory.show_pod(body, deleted=kind == "DELETED")
        if parts.roster is not None:
            parts.roster.show_pod(body, deleted=kind == "DELETED")
        if parts.ledger is not None:
            parts.ledger.show_pod(body, kind)
        if parts.policies is not None:
            parts.policies.show_pod(body)

    @kopf.on.event(api.GROUP, api.VERSION, api.SCALER_PLURAL, registry=registry)
    async def see_scaler(event: Any, **_: Any) -> None:
        body, kind = counted(api.SCALER_KIND, event)
        if parts.roster is not None:
            await parts.roster.show_scaler(body, deleted=kind == "DELETED")

    @kopf.on.event(api.GROUP, api.VERSION, api.POLICY_PLURAL, registry=registry)
    async def see_policy(event: Any, **_: Any) -> None:
        body, kind = counted(api.POLICY_KIND, event)
        parts.inventory.show_policy(body, deleted=kind == "DELETED")
        if parts.policies is not None:
            await parts.policies.show_policy(body, deleted=kind == "DELETED")

    @kopf.on.event("discovery.k8s.io", "v1", "endpointslices", registry=registry)
    async def see_slice(event: Any, **_: Any) -> None:
        body, kind = counted("EndpointSlice", event)
        parts.inventory.show_slice(body, deleted=kind == "DELETED")
        if parts.roster is not None and kind != "DELETED":
            parts.roster.show_slice(body)

    @kopf.on.event("autoscaling", "v2", "horizontalpodautoscalers", registry=registry)
    async def see_autoscaler(event: Any, **_: Any) -> None:
        body, kind = counted("HorizontalPodAutoscaler", event)
        parts.inventory.show_autoscaler(body, deleted=kind == "DELETED")

    @kopf.on.event("coordination.k8s.io", "v1", "leases", registry=registry)
    async def see_lease(event: Any, **_: Any) -> None:
        counted("Lease", event)
        parts.pulse.stamp_seen()


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf's settings; each says why it is not the default."""
    # Silent watch death is what kopf's users report most; bounds on both sides.
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    # Only pods of ReplicaSets are recorded, and only one Lease is a heartbeat.
    settings.watching.label_selectors["", "v1", "pods"] = api.POD_TEMPLATE_HASH_LABEL
    settings.watching.field_selectors["coordination.k8s.io", "v1", "leases"] = (
        f"metadata.name={LEASE_NAME}"
    )
    # The chart installs the CRDs; watching for new ones would need more rights.
    settings.scanning.disabled = True
    # The Lease elects the leader. A peering object left in the cluster must not pause it.
    settings.peering.standalone = True
    # kopf would post its log lines as Events; ours are posted on purpose.
    settings.posting.enabled = False
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10


Activity = Callable[..., Any]


def register_activities(registry: kopf.OperatorRegistry, start: Activity, stop: Activity) -> None:
    """Register what happens before the first watch and after the last."""

    @kopf.on.startup(registry=registry)
    async def on_startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)
        await start()

    @kopf.on.cleanup(registry=registry)
    async def on_cleanup(**_: Any) -> None:
        await stop()

    @kopf.on.login(registry=registry)
    def on_login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        # Not through the client library: it would cost 30 MiB for a token and an address.
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
