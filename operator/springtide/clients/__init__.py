"""The only I/O: clients of what the operator talks to."""
