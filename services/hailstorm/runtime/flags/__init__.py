"""
Flags: values that operators change while a process runs, without a restart.

    ConfigMap ──watched──┐
                         ├──► LiveFlags ──► Flags          what decisions ask
    folder ──polled──────┘        └───────► OpenFeature    the same, for whoever speaks it

`reader` is what services import; everything else is put together by `run`.
"""

from hailstorm.runtime.flags.reader import FixedFlags, Flags

__all__ = ["FixedFlags", "Flags"]
