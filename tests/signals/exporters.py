"""Small HTTP servers that show metrics as the pods of services do."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Exporter(ThreadingHTTPServer):
    """A pod: its name, its labels as Kubernetes' service discovery shows them, and `text` is what it exposes.

    `seconds` is how long it has run, for counters: `lambda pod: f"x_total {3 * pod.seconds}"`. Ended by `with`.
    """

    daemon_threads = True

    def __init__(
        self,
        pod: str,
        text: "Callable[[Exporter], str]",
        *,
        namespace: str = "team-a",
        service: str = "chat",
        pool: str = "gpu",
        port_name: str = "http",
        path: str = "/metrics",
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pod, self.text, self.path = pod, text, path
        self.begun = time.monotonic()
        self.answering = threading.Event()
        self.answering.set()
        meta = {
            "namespace": namespace,
            "pod_name": pod,
            "pod_phase": "Running",
            "pod_container_port_name": port_name,
            "pod_label_springtide_dev_service": service,
            "pod_label_springtide_dev_pool": pool,
        }
        if path != "/metrics":
            meta["pod_annotation_prometheus_io_path"] = path
        self.target = {
            "targets": [f"127.0.0.1:{self.server_address[1]}"],
            "labels": {f"__meta_kubernetes_{name}": value for name, value in meta.items()},
        }
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def restart(self) -> None:
        """Begin at 0 again, as a container that was started again does."""
        self.begun = time.monotonic()

    def server_close(self) -> None:
        self.answering.set()
        self.shutdown()
        super().server_close()

    def __enter__(self) -> "Exporter":
        return self

    def __exit__(self, *_: object) -> None:
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Exporter

    def do_GET(self) -> None:
        self.server.answering.wait()
        found = self.path.split("?")[0] == self.server.path
        body = self.server.text(self.server).encode() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
