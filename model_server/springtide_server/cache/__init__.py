"""Results kept in Redis and given again to equal requests. It fails open: without Redis everything is computed."""
