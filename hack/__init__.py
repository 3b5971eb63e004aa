"""Tooling for developers: local clusters, images, models, generators. Never imported by the product."""
