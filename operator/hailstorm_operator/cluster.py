"""
The only module that talks to the Kubernetes API (watching is kopf's).

Plain JSON in and out: the generated models would triple the memory and say no
more. Every call has a timeout; errors are turned into those that callers can tell
apart.

    ClusterError            something else went wrong; the message says what
    ├── NotFoundError       the object is not there (any more)
    ├── ConflictError       it is there already, or was changed meanwhile
    ├── NotLeadingError     another operator may be at work: nothing was sent
    └── UnreachableError    no answer; asking again may help
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from kubernetes.aio import client, config

from hailstorm_operator import api
from hailstorm_operator.api_paths import (
    CUSTOM,
    app_path,
    core_path,
    label_selector,
    lease_path,
    own_path,
)

Json = dict[str, Any]

# Above the worst answer of a busy API server on two cores, below a probe's patience.
REQUEST_TIMEOUT_SECONDS: Final = 5
MERGE_PATCH: Final = "application/merge-patch+json"
COMPONENT: Final = api.FIELD_MANAGER
# The kubelet sets it in every container.
IN_CLUSTER_VARIABLE: Final = "KUBERNETES_SERVICE_HOST"


class ClusterError(Exception):
    """The API server refused. Attribute `status` is the HTTP status, 0 without one."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(ClusterError):
    """The object or its namespace does not exist."""


class ConflictError(ClusterError):
    """The object exists already or changed since it was read: read again."""


class NotLeadingError(ClusterError):
    """Not sent, because this process is not, or may no longer be, the one that writes."""


class UnreachableError(ClusterError):
    """No answer in time, or the server is overloaded. May be repeated."""


class Cluster:
    """Calls that the operator makes. Make it with `connect`, end it with `close`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        # Asked before every write but those of the Lease itself.
        self.may_write: Callable[[], bool] = lambda: True

    async def close(self) -> None:
        """Give connections back."""
        await self._client.close()

    async def get_deployment(self, namespace: str, name: str) -> Json:
        """Read a Deployment."""
        return await self._call("GET", app_path(namespace, "deployments", name))

    async def list_replica_sets(self, namespace: str, selector: Mapping[str, str]) -> list[Json]:
        """List ReplicaSets by labels."""
        return await self._list(app_path(namespace, "replicasets"), selector)

    async def list_pods(self, namespace: str, selector: Mapping[str, str]) -> list[Json]:
        """List pods by labels."""
        return await self._list(core_path(namespace, "pods"), selector)

    async def patch_pod(self, namespace: str, name: str, patch: Json) -> Json:
        """Merge into a pod's labels or annotations. NotFoundError when it has gone."""
        query = [("fieldManager", COMPONENT)]
        return await self._call(
            "PATCH", core_path(namespace, "pods", name), query=query, body=patch
        )

    async def list_services(self, namespace: str) -> list[Json]:
        """List Services."""
        return await self._list(core_path(namespace, "services"), {})

    async def list_budgets(self, namespace: str) -> list[Json]:
        """List PodDisruptionBudgets."""
        path = f"/apis/policy/v1/namespaces/{quote(namespace)}/poddisruptionbudgets"
        return await self._list(path, {})

    async def list_endpoint_slices(self, namespace: str, service: str) -> list[Json]:
        """List the EndpointSlices of a Service."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{quote(namespace)}/endpointslices"
        return await self._list(path, {api.SERVICE_NAME_LABEL: service})

    async def list_autoscalers(self, namespace: str) -> list[Json]:
        """List HorizontalPodAutoscalers."""
        path = f"/apis/autoscaling/v2/namespaces/{quote(namespace)}/horizontalpodautoscalers"
        return await self._list(path, {})

    async def create_deployment(self, namespace: str, body: Json) -> Json:
        """Create a Deployment. ConflictError when there is one of its name."""
        query = [("fieldManager", COMPONENT)]
        return await self._call("POST", app_path(namespace, "deployments"), query=query, body=body)

    async def set_replicas(self, namespace: str, name: str, replicas: int) -> None:
        """Write the number of replicas through /scale. Repeatable."""
        path = f"{app_path(namespace, 'deployments', name)}/scale"
        # By name, so that a count set by somebody else can be told from our own.
        query = [("fieldManager", COMPONENT)]
        await self._call("PATCH", path, query=query, body={"spec": {"replicas": replicas}})

    async def patch_deployment(self, namespace: str, name: str, patch: Json) -> Json:
        """
        Merge into a Deployment: to hold, release or roll it back.

        ConflictError when it has changed since the resourceVersion in the patch.
        """
        path = app_path(namespace, "deployments", name)
        # By name, or the history of who wrote what would show a client library.
        query = [("fieldManager", COMPONENT)]
        return await self._call("PATCH", path, query=query, body=patch)

    async def set_deployment_status(self, namespace: str, name: str, patch: Json) -> None:
        """Merge into a Deployment's status: that its rollout has failed."""
        path = f"{app_path(namespace, 'deployments', name)}/status"
        query = [("fieldManager", COMPONENT)]
        await self._call("PATCH", path, query=query, body=patch)

    async def get_policy(self, namespace: str, name: str) -> Json:
        """Read a RolloutPolicy."""
        return await self._call("GET", own_path(namespace, api.POLICY_PLURAL, name))

    async def set_policy_status(self, namespace: str, name: str, status: Json) -> None:
        """Merge into the status of a RolloutPolicy."""
        path = f"{own_path(namespace, api.POLICY_PLURAL, name)}/status"
        await self._call("PATCH", path, body={"status": status})

    async def note_policy(self, namespace: str, name: str, block: Json) -> None:
        """Write a RolloutRecord's `status.policy`; only the gate writes there. Repeatable."""
        path = f"{own_path(namespace, api.RECORD_PLURAL, name)}/status"
        await self._call("PATCH", path, body={"status": {"policy": block}})

    async def get_scaler(self, namespace: str, name: str) -> Json:
        """Read a ServiceScaler."""
        return await self._call("GET", own_path(namespace, api.SCALER_PLURAL, name))

    async def list_scalers(self, namespace: str) -> list[Json]:
        """List the ServiceScalers of a namespace."""
        return await self._list(own_path(namespace, api.SCALER_PLURAL), {})

    async def set_scaler_status(self, namespace: str, name: str, status: Json) -> None:
        """Merge into the status of a ServiceScaler."""
        path = f"{own_path(namespace, api.SCALER_PLURAL, name)}/status"
        await self._call("PATCH", path, body={"status": status})

    async def create_record(self, namespace: str, record: Json) -> Json:
        """Create a RolloutRecord. ConflictError when it is there already."""
        return await self._call("POST", own_path(namespace, api.RECORD_PLURAL), body=record)

    async def get_record(self, namespace: str, name: str) -> Json:
        """Read a RolloutRecord."""
        return await self._call("GET", own_path(namespace, api.RECORD_PLURAL, name))

    async def list_records(
        self, namespace: str | None, selector: Mapping[str, str] | str
    ) -> list[Json]:
        """List RolloutRecords by labels, of one namespace or of all."""
        path = (
            own_path(namespace, api.RECORD_PLURAL) if namespace else f"{CUSTOM}/{api.RECORD_PLURAL}"
        )
        return await self._list(path, selector)

    async def set_record_status(
        self, namespace: str, name: str, status: Json, version: str
    ) -> Json:
        """
        Replace the fields of a RolloutRecord's status that are given.

        `version` is the resourceVersion that was read; ConflictError when another
        writer was first.
        """
        path = f"{own_path(namespace, api.RECORD_PLURAL, name)}/status"
        body = {"metadata": {"resourceVersion": version}, "status": status}
        return await self._call("PATCH", path, body=body)

    async def label_record(
        self, namespace: str, name: str, labels: Mapping[str, str | None]
    ) -> Json:
        """Add labels to a RolloutRecord; None takes one away."""
        path = own_path(namespace, api.RECORD_PLURAL, name)
        return await self._call("PATCH", path, body={"metadata": {"labels": dict(labels)}})

    async def delete_record(self, namespace: str, name: str) -> None:
        """Delete a RolloutRecord."""
        await self._call("DELETE", own_path(namespace, api.RECORD_PLURAL, name))

    async def post_event(
        self, about: Json, reason: str, message: str, *, warning: bool = False
    ) -> None:
        """Post an Event about an object (apiVersion, kind, metadata)."""
        metadata = about["metadata"]
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        body = {
            "metadata": {"generateName": f"{metadata['name'][:200]}-"},
            "regarding": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata.get("uid", ""),
            },
            "reason": reason,
            "note": message[:1000],
            "type": "Warning" if warning else "Normal",
            "action": reason,
            "eventTime": now,
            "reportingController": f"{api.GROUP}/operator",
            "reportingInstance": os.environ.get("HOSTNAME", COMPONENT)[:128],
        }
        path = f"/apis/events.k8s.io/v1/namespaces/{quote(metadata['namespace'])}/events"
        await self._call("POST", path, body=body)

    async def get_lease(self, namespace: str, name: str) -> Json:
        """Read a Lease."""
        return await self._call("GET", lease_path(namespace, name))

    async def create_lease(self, namespace: str, name: str, spec: Json) -> None:
        """Create a Lease. ConflictError when another candidate was first."""
        body = {"metadata": {"name": name}, "spec": spec}
        await self._call("POST", lease_path(namespace), body=body, fenced=False)

    async def patch_lease(self, namespace: str, name: str, spec: Json, version: str) -> None:
        """Merge into a Lease's spec. ConflictError when it has changed since `version`."""
        body = {"metadata": {"resourceVersion": version}, "spec": spec}
        path = lease_path(namespace, name)
        await self._call("PATCH", path, body=body, fenced=False)

    async def _list(self, path: str, selector: Mapping[str, str] | str) -> list[Json]:
        text = selector if isinstance(selector, str) else label_selector(selector)
        query = [("labelSelector", text)] if text else []
        found = await self._call("GET", path, query=query)
        items: list[Json] = found.get("items") or []
        return items

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Json | None = None,
        fenced: bool = True,
    ) -> Json:
        if fenced and method != "GET" and not self.may_write():
            raise NotLeadingError(f"{method} {path}: this operator does not lead")
        content = MERGE_PATCH if method == "PATCH" else "application/json"
        request = await self._client.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = await self._client.call_api(
                *request, _request_timeout=REQUEST_TIMEOUT_SECONDS
            )
            data = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UnreachableError(f"{method} {path}: {error!r}") from error
        if response.status >= 400:
            raise _error(method, path, response.status, data)
        parsed: Json = json.loads(data)
        return parsed


async def connect() -> Cluster:
    """Connect as the pod's ServiceAccount, or outside a cluster as KUBECONFIG says."""
    settings = client.Configuration()
    if IN_CLUSTER_VARIABLE in os.environ:
        config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
    else:
        await config.load_kube_config(client_configuration=settings)  # type: ignore[no-untyped-call]
    return Cluster(client.ApiClient(settings))


def _error(method: str, path: str, status: int, data: bytes) -> ClusterError:
    try:
        message = json.loads(data).get("message", "")
    except ValueError:
        message = data[:200].decode(errors="replace")
    text = f"{method} {path}: {status} {message}"
    if status == 404:
        return NotFoundError(text, status)
    if status == 409:
        return ConflictError(text, status)
    if status == 429 or status >= 500:
        return UnreachableError(text, status)
    return ClusterError(text, status)
