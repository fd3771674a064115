"""
Autoscalers in a model of a service, on the same demand, in seconds instead of days.

The service, the HPA and Knative's KPA are models, written from their published
rules; so are warm spares. Ours is the decider that runs in the cluster. It is for tuning and for
comparing policies with each other; what a cluster really does, `make compare`
measures.
"""
