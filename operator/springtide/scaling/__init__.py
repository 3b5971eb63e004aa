"""What decides how many replicas a service should have: values in, values out."""
