"""What the machine has, and how much of it was at work; with kind, the cluster is in it."""

import os
from pathlib import Path


def machine() -> dict[str, float]:
    """Cores and memory of the machine that the drill, and with kind all of it, runs on."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {"cores": os.cpu_count() or 0, "memory_gib": round(pages * size / 2**30, 1)}


def cpu_seconds() -> tuple[float, float]:
    """(busy, all) seconds of all cores since boot; with kind, the cluster's are among them."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    # user nice system idle iowait irq softirq steal, in ticks of the kernel's clock.
    hertz = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4]) / hertz, sum(ticks) / hertz


def busy_cores(before: tuple[float, float], after: tuple[float, float]) -> float:
    """How many cores were at work between the two; 0 when no time has passed."""
    passed = after[1] - before[1]
    return round((after[0] - before[0]) / passed * (os.cpu_count() or 1), 2) if passed else 0.0
