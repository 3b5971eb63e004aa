"""Springtide model server."""

# Here too, since an image may hold the source without its metadata.
__version__ = "0.1.0"
