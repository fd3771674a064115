"""Three autoscalers, one load, one cluster: who had capacity when, and at whose cost."""
