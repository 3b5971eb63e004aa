"""From the first moment of the process to its last."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from springtide_server.server import listen
from tests.model_server.process import ServerProcess, error_of, events

CHAT = "/v1/chat/completions"


def run_to_its_end(model: Path, task: str = "Embed") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "springtide_server", "--model", str(model), "--served-model-name", "m"]
    command += ["--task", task, "--host", "127.0.0.1", "--port", "0"]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def link_copy(model: Path, folder: Path) -> Path:
    """A folder with the same files, of which single ones may be replaced."""
    return Path(shutil.copytree(model, folder, copy_function=os.symlink))


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    replace(folder / "config.json", b"{")


def truncated_weights(folder: Path) -> None:
    replace(folder / "model.safetensors", (folder / "model.safetensors").read_bytes()[:-1000])


def pointer_instead_of_weights(folder: Path) -> None:
    replace(folder / "model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def missing_shard(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')


def no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink()


def unknown_architecture(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    replace(folder / "config.json", json.dumps({**config, "model_type": "spring"}).encode())


@pytest.mark.parametrize(
    ("break_it", "name", "said"),
    [
        (nothing, "", "is not a folder"),
        (empty, "", "is empty"),
        (no_config, "", "no config.json"),
        (broken_config, "config.json", "not JSON"),
        (truncated_weights, "model.safetensors", "truncated: 90867376 bytes, its header says 90868376"),
        (pointer_instead_of_weights, "model.safetensors", "Git LFS pointer"),
        (no_weights, "", "no model.safetensors"),
        (missing_shard, "model-00001-of-00002.safetensors", "is missing"),
        (no_tokenizer, "", "no tokenizer.json"),
        (unknown_architecture, "config.json", "'spring'"),
    ],
)
def test_a_model_that_cannot_be_served(minilm: Path, tmp_path: Path, break_it: object, name: str, said: str) -> None:
    folder = link_copy(minilm, tmp_path / "model")
    break_it(folder)  # type: ignore[operator]
    result = run_to_its_end(folder)
    assert result.returncode == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"springtide-model-server: {folder / name if name else folder} ")
    assert said in last
    assert "Traceback" not in result.stderr


def test_a_model_of_the_other_task(minilm: Path, smollm2: Path) -> None:
    for model, task, other in ((minilm, "Generate", "Embed"), (smollm2, "Embed", "Generate")):
        result = run_to_its_end(model, task)
        assert (result.returncode, f"use --task {other}" in result.stderr.splitlines()[-1]) == (2, True)


def test_a_port_in_use(minilm: Path, embed: ServerProcess) -> None:
    command = [sys.executable, "-m", "springtide_server", "--model", str(minilm), "--served-model-name", "m"]
    command += ["--task", "Embed", "--host", "127.0.0.1", "--port", str(embed.client.base_url.port)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert f"port {embed.client.base_url.port}: Address already in use" in result.stderr.splitlines()[-1]


def test_help_needs_no_torch() -> None:
    code = "import sys; from springtide_server import server, __main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def loading(smollm2: Path) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers that have just begun to load, together because most of that is one thread importing torch."""
    with (
        ServerProcess(smollm2, "smol", "Generate", "--drain-seconds", "4", "--shutdown-seconds", "120") as patient,
        ServerProcess(smollm2, "smol", "Generate", "--drain-seconds", "0", "--shutdown-seconds", "1") as impatient,
    ):
        yield patient, impatient


def test_a_whole_life(loading: tuple[ServerProcess, ServerProcess]) -> None:
    server = loading[0]
    # Loading: alive, not ready, and clients are told to come back.
    assert server.client.get("/healthz").status_code == 200
    not_ready = server.client.get("/readyz")
    assert (not_ready.status_code, not_ready.text) == (503, "loading\n")
    early = server.ask("Hello")
    assert (early.status_code, error_of(early)["code"]) == (503, "loading")
    assert int(early.headers["retry-after"]) > 0

    server.wait_ready()
    body = {"model": "smol", "messages": [{"role": "user", "content": "Tell a story."}], "max_tokens": 200}
    with server.client.stream("POST", CHAT, json={**body, "temperature": 0, "stream": True}) as response:
        lines = response.iter_lines()
        first = next(lines)
        server.process.send_signal(signal.SIGTERM)
        # Draining: not ready any more, but who has not heard of it yet is still served.
        server._wait_for(lambda: server.client.get("/readyz").status_code == 503)
        assert server.client.get("/readyz").text == "draining\n"
        late = server.client.get("/v1/models")
        assert (late.status_code, late.headers["connection"]) == (200, "close")
        server.process.send_signal(signal.SIGTERM)
        chunks = events([first, *lines])
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert server.process.wait(60) == 0
    states = [line["message"] for line in server.log() if line["logger"] == "springtide_server.server"]
    assert states == ["listening", "draining", "closing"]
    assert "Traceback" not in server.stderr()


def test_requests_that_outlast_the_deadline_are_cut(loading: tuple[ServerProcess, ServerProcess]) -> None:
    server = loading[1].wait_ready()
    body = {"model": "smol", "messages": [{"role": "user", "content": "Tell a very long story."}], "stream": True}
    with server.client.stream("POST", CHAT, json=body) as response:
        next(response.iter_lines())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


def test_sigterm_while_loading(minilm: Path) -> None:
    with ServerProcess(minilm, "mini", "Embed") as server:
        server._wait_for(lambda: server.client.get("/readyz").status_code == 503)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


def test_a_signal_before_the_server_listens_ends_it_at_once(minilm: Path) -> None:
    command = [sys.executable, "-m", "springtide_server", "--model", str(minilm), "--served-model-name", "m"]
    with subprocess.Popen([*command, "--task", "Embed", "--port", "0"], stderr=subprocess.PIPE, text=True) as process:
        while not handles_sigterm(process.pid):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "listening" not in log, "the signal came too late to show anything"


@pytest.mark.parametrize("host", ["127.0.0.1", "::", "::1"])
def test_what_is_sent_waits_for_no_acknowledgement(host: str) -> None:
    target = "::1" if ":" in host else host
    with listen(host, 0) as listener, socket.create_connection((target, listener.getsockname()[1])):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def handles_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught & 1 << signal.SIGTERM - 1)
