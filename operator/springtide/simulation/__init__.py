"""Scaling over a trace with a fake clock: what the shipped decision would have done."""
