"""One small file for each server; none is imported here, each runs where its packages are."""
