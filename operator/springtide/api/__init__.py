"""The Kubernetes API of Springtide as pydantic models: the only source of the CRDs and of the reference."""
