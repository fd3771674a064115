"""The drain self-test: how long callers go on sending to a pod that is told to end."""
