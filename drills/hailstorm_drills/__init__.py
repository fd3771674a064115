"""
Drills: load, a fault, and checkers that say what users felt.

    baseline -> inject -> hold -> recover -> settle -> judge

A drill keeps everything it saw in one directory and judges from that
directory alone, so a verdict can be made again, and argued with, later.
"""
