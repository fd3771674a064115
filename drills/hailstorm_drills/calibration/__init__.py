"""How many calls in flight one pod carries: measured at a pod that serves nobody."""
