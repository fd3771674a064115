"""
Load for Hailstorm: riders and drivers of a real evening, in an open model.

Arrivals follow a schedule that is fixed before the first call, so a slow
system does not slow the load down, and every latency counts from the moment
the call was due. Every call becomes a line of history (`history`), which is
what drills judge; importing `history` pulls in neither Locust nor gRPC.
"""
