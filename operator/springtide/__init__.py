"""Springtide: the control plane."""

VERSION = "0.1.0"
"""Of this code: an image carries no metadata of the distribution."""
