"""
The recorder: a process of its own that keeps what the edge's Envoys say of every
call and every attempt, by pod and second, and says of every stretch of time
whether it saw all of it.

    messages ─► lines ─► tallies ─┐
                  └────► samples ─┼─► store ─► journal (survives a restart)
    streams, pulses ─► presence ──┘     └────► http_server (read by the operator and by people)

Nothing waits for it: with the recorder gone, traffic is untouched, and the time
it was gone is a gap in which verdicts are UNKNOWN.
"""
