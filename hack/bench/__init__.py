"""Benches: each is a script that prints one JSON object; what was seen is in docs/benchmarks.md."""
