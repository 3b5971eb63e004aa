"""What load a service has and what its replicas can do, from what Prometheus and the pods say. Pure."""
