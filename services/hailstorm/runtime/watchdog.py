"""
The end that comes in any case.

A process that does not end by itself is killed by the kubelet, without a word
in its log. The watchdog is a thread, as what keeps a process from ending is
most often a blocked event loop, and it says where every thread stood.
"""

import faulthandler
import logging
import os
import sys
import threading
from typing import NoReturn

EXIT_CODE_OVERDUE = 1


def exit_now(code: int) -> NoReturn:
    """End the process without running anything else, with its output written."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Watchdog:
    """Ends the process with code 1 when `budget_seconds` have passed since `start`."""

    def __init__(self, budget_seconds: float) -> None:
        self._timer = threading.Timer(budget_seconds, self._end)
        # It must not keep alive what it is there to end.
        self._timer.daemon = True

    def start(self) -> None:
        self._timer.start()

    def cancel(self) -> None:
        self._timer.cancel()

    @staticmethod
    def _end() -> None:
        faulthandler.dump_traceback(sys.stderr)
        # No logging here: its lock may be what everybody waits for.
        os.write(2, b"the budget for stopping is spent; ending now\n")
        os._exit(EXIT_CODE_OVERDUE)
