"""What acts: kopf's handlers, the cache, the work queue and the reconcile."""
