"""The load generator in several processes, beside something else, and over TLS."""

from __future__ import annotations

import datetime
import ipaddress
import multiprocessing
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hack.load import Background, Options
from tests.unit.load_server import Server, adds_up, load


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    one = Server()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def server(running: Server) -> Server:
    running.clear()
    return running


def test_processes_send_what_one_would(server: Server) -> None:
    asked: dict[str, Any] = {
        "rate": 60,
        "seconds": 1,
        "kind": "chat",
        "header_mix": "X-Priority=a:1,b:2",
        "tokens": "1-9",
    }
    one = load(server, **asked)
    sent = sorted(body["messages"][0]["content"] for body in server.bodies)
    server.clear()
    two = load(server, **asked, processes=2)
    assert sorted(body["messages"][0]["content"] for body in server.bodies) == sent
    adds_up(two)
    assert two["requests"] == one["requests"]
    for value, group in one["classes"].items():
        assert two["classes"][value]["scheduled"] == group["scheduled"]
    assert two["sender"]["processes_lost"] == 0
    assert (two["tokens"]["prompt"], two["bytes"]["sent"]) == (one["tokens"]["prompt"], one["bytes"]["sent"])


def test_failures_are_counted_over_processes(server: Server) -> None:
    told = load(server, "/shed", rate=50, seconds=30, until_failures=6, processes=2)
    adds_up(told)
    assert told["ended"] == "failures"
    assert told["requests"]["not_scheduled"] > 0


def test_beside_something_else(server: Server) -> None:
    with Background(Options((server.url,), rate=100, seconds=60)) as beside:
        while server.seen["/"] < 20:
            time.sleep(0.01)
        told = beside.finish()
    adds_up(told)
    assert told["ended"] == "signal"
    assert told["requests"]["failed"] == 0
    assert told["requests"]["ok"] == server.seen["/"] >= 20
    assert told["requests"]["not_scheduled"] > 0


def test_a_process_that_is_killed_is_told(server: Server) -> None:
    others = set(multiprocessing.active_children())
    with Background(Options((server.url,), rate=50, seconds=60, processes=2)) as beside:
        while server.seen["/"] < 10:
            time.sleep(0.01)
        (set(multiprocessing.active_children()) - others).pop().kill()
        time.sleep(0.1)
        told = beside.finish()
    assert told["sender"]["processes_lost"] == 1
    assert told["sender"]["saturated_by"][-1] == "processes"
    assert told["requests"]["ok"] > 0


def test_https(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "load")])
    now = datetime.datetime.now(datetime.UTC)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    certificate = made.add_extension(loopback, critical=False).sign(key, hashes.SHA256())
    pem = tmp_path / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(pem)
    server = Server(trust)
    server.start()
    try:
        assert load(server, requests=5, ca=pem)["outcomes"] == {"ok": 5}
        assert load(server, requests=5, insecure=True, connections="fresh")["outcomes"] == {"ok": 5}
        told = load(server, requests=5)
    finally:
        server.stop()
    adds_up(told)
    assert told["details"] == {"connect_error: CERTIFICATE_VERIFY_FAILED": 5}
