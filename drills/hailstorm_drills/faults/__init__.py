"""Faults: what a drill does to the cluster, each in a module of its own."""
