"""Springtide model server."""
