"""Springtide: the control plane."""
