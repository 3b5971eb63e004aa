"""A real Redis as a child process."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis

from hack.packages import need


class RedisProcess:
    """Started by `with`, on a free port, with a folder of its own; killed at the end."""

    def __init__(self, folder: Path, *arguments: str, password: str = "") -> None:
        self.password = password
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--save", "", "--appendonly", "no", "--daemonize", "no", *arguments]
        self._command += ["--requirepass", password] if password else []
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, password=password or None)

    def __enter__(self) -> "RedisProcess":
        need("redis-server")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.kill()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                assert self.process.poll() is None and time.monotonic() < deadline, "Redis did not start"
                time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def entries(self) -> dict[bytes, bytes]:
        """What is kept; locks are left out."""
        names = [name for name in self.client.scan_iter("springtide:*") if not name.endswith(b":lock")]
        values = {name: self.client.get(name) for name in names}
        return {name: value for name, value in values.items() if isinstance(value, bytes)}
