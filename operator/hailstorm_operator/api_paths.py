"""Paths of the Kubernetes API: names are quoted, an empty name stands for the collection."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from hailstorm_operator import api

CUSTOM: Final = f"/apis/{api.GROUP}/{api.VERSION}"


def label_selector(labels: Mapping[str, str]) -> str:
    """A labelSelector that wants every one of these."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def lease_path(namespace: str, name: str = "") -> str:
    """One Lease or all of a namespace."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace)}/leases" + _tail(name)


def app_path(namespace: str, plural: str, name: str = "") -> str:
    """Of apps/v1."""
    return f"/apis/apps/v1/namespaces/{quote(namespace)}/{plural}" + _tail(name)


def core_path(namespace: str, plural: str, name: str = "") -> str:
    """Of the core group."""
    return f"/api/v1/namespaces/{quote(namespace)}/{plural}" + _tail(name)


def own_path(namespace: str, plural: str, name: str = "") -> str:
    """Of this project's own kinds."""
    return f"{CUSTOM}/namespaces/{quote(namespace)}/{plural}" + _tail(name)


def _tail(name: str) -> str:
    return f"/{quote(name)}" if name else ""
