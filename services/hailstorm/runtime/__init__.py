"""
What every Hailstorm service process shares, and no word of ride-hailing.

A service's `__main__` reads its settings, says how it starts, and calls
`run.serve`; everything between SIGTERM and exit is decided here, once, because
a drain that three services each do almost right is three ways to lose calls.
"""
