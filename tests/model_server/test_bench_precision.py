"""The bench of precisions, as far as it is quick."""

import json
import subprocess
import sys


def test_it_tells_what_a_load_takes() -> None:
    command = [sys.executable, "-m", "hack.bench.precision", "--part", "load", "minilm", "INT8"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=240).stdout)
    assert 50e6 < told["weight_bytes"] < 65e6
    assert 0 < told["drop_percent"] < 1
    assert told["load_peak_bytes"] > 0
