"""Keys, certificates and kubeconfigs of a cluster: one authority, ECDSA P-256, valid for ten years."""

from __future__ import annotations

import base64
import datetime
import json
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .spec import Spec

LIFETIME = datetime.timedelta(days=3650)


class Authority:
    """The certificate authority of a cluster, kept in its `pki` folder."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.folder = spec.home / "pki"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"springtide-{spec.name}")])
        ca = self._builder(self._name, self._key.public_key())
        ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        ca = ca.add_extension(_usage(signs=True), critical=True)
        self._certificate = ca.sign(self._key, hashes.SHA256())
        self._write("ca", self._key, self._certificate)
        accounts = ec.generate_private_key(ec.SECP256R1())
        _private(self.folder / "sa.key", accounts)
        public = accounts.public_key()
        (self.folder / "sa.pub").write_bytes(
            public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def issue(self, file: str, user: str, groups: tuple[str, ...] = (), addresses: tuple[str, ...] = ()) -> None:
        """Write `file`.crt and `file`.key for a user of Kubernetes, or a server at the addresses, or both."""
        key = ec.generate_private_key(ec.SECP256R1())
        organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        leaf = self._builder(subject, key.public_key())
        leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        leaf = leaf.add_extension(_usage(signs=False), critical=True)
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if addresses else [])]
        leaf = leaf.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if addresses:
            names = [
                x509.IPAddress(IPv4Address(a)) if a.replace(".", "").isdigit() else x509.DNSName(a) for a in addresses
            ]
            leaf = leaf.add_extension(x509.SubjectAlternativeName(names), critical=False)
        self._write(file, key, leaf.sign(self._key, hashes.SHA256()))

    def kubeconfig(self, path: Path, user: str, groups: tuple[str, ...] = ()) -> Path:
        """Write a kubeconfig with a client certificate of its own, and return its path."""
        file = f"client-{path.stem}"
        self.issue(file, user, groups)

        def embedded(name: str) -> str:
            return base64.b64encode((self.folder / name).read_bytes()).decode()

        name = self.spec.name
        cluster = {"server": self.spec.server, "certificate-authority-data": embedded("ca.crt")}
        client = {"client-certificate-data": embedded(f"{file}.crt"), "client-key-data": embedded(f"{file}.key")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": user, "user": client}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "current-context": name,
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))
        return path

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + LIFETIME)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(issuer, critical=False)

    def _write(self, file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        _private(self.folder / f"{file}.key", key)
        (self.folder / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
