"""The demo: a two-node cluster in which two real models answer; `make demo`."""
