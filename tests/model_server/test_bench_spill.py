"""The bench of spilled beginnings, with short ones: that each way does what it is named for."""

import json
import subprocess
import sys


def test_only_what_is_kept_is_known_again() -> None:
    prefix, prefixes, rounds = 96, 3, 2
    options = ["--prefix", str(prefix), "--prefixes", str(prefixes), "--rounds", str(rounds)]
    command = [sys.executable, "-m", "hack.bench.spill", *options]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout)
    again = prefix * prefixes * rounds
    assert told["known_tokens"] == {"computed": 0, "host": again, "device": again}
    assert all(seconds > 0 for seconds in told["first_token_seconds"].values())
    assert {len(runs) for runs in told["runs"].values()} == {prefixes * rounds}
