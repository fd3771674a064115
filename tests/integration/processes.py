"""
Services as processes for the tests, as the benchmarks and this layer share them.

`hailstorm_platform.service_process` starts them, since nothing outside tests/
imports tests. What only tests need beside it belongs here.
"""

from hailstorm_platform.service_process import SERVICES, ServiceProcess

__all__ = ["SERVICES", "ServiceProcess"]
