"""Kubernetes manifests as plain data: a job or a service in, dictionaries out. Knows no cluster and no client."""
