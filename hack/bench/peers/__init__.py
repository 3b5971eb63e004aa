"""Other model servers with the same model, for `python -m hack.bench.server`, each in an environment of its own."""
