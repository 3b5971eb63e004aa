"""The commands of the guides, run as they stand there, one block after the other."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hack.cluster.spec import Spec, clusters
from hack.cluster.tools import program

from .support import shell

ROOT = Path(__file__).resolve().parents[2]


def blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_every_command_of_the_readme_works(demo: Spec) -> None:
    script = blocks((ROOT / "README.md").read_text())
    assert len(script) >= 6
    # the cluster of the tests has another name, so as not to touch a demo that somebody looks at
    text = "\n".join(f"echo '### {number}'\n{block}" for number, block in enumerate(script))
    text = text.replace("springtide-node-2", f"{demo.name}-node-2")
    done = shell(f"cd {ROOT}\n{text}", {**os.environ, "SPRINGTIDE_CLUSTER": demo.name})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The capital of France is Paris" in done.stdout
    assert str(2 << 30) in done.stdout, "the memory limit, read from the cgroup"
    assert "ModelPullFailed" in done.stdout


def test_every_command_of_the_guide_to_operations_works(demo: Spec, examples: None) -> None:
    text = "\n".join(blocks((ROOT / "docs" / "operations.md").read_text()))
    environment = {"SPRINGTIDE_CLUSTER": demo.name, "PATH": f"{program('helm').parent}:{os.environ['PATH']}"}
    done = shell(f'cd {ROOT}\neval "$(make --silent demo-env)"\n{text}', {**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "leader_election_master_status" in done.stdout
    assert "chat" in done.stdout, "ModelServices outlive the release"


def test_every_command_of_the_guide_to_local_clusters_works() -> None:
    text = "\n".join(blocks((ROOT / "docs" / "local-clusters.md").read_text()))
    # another name here too; its own clusters are the only ones that a test takes away
    text = text.replace("--name a", "--name test-docs").replace("a-node-", "test-docs-node-")
    done = shell(f"cd {ROOT}\n{text}", dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test-docs-fake-20" in done.stdout
    assert "pod/hello created" in done.stdout
    assert "fault-freeze-test-docs-node-2" in done.stderr.split("undone:")[1]
    assert not [spec for spec in clusters() if spec.name == "test-docs"]
