"""
Whether a cell can take one more request: a pure decision.

Where riders outrun drivers, each further request costs the searches of a whole
neighbourhood and ends as UNFULFILLED all the same. Refused at the door it costs
one look-up of its key, and the rain in one quarter does not slow down the rest of
the city (Grab's "spampede" filter).
"""


def is_gated(unallocated: int, idle_drivers: int, ratio: float, allowance: int) -> bool:
    """
    Whether new requests are to be refused.

    `unallocated` are the requests of the last minute that have no driver. The
    allowance keeps a quiet cell open, and lets enough requests through a closed
    one that it notices when drivers are back.
    """
    return unallocated >= allowance + ratio * idle_drivers
