"""A small authority for tests: makes certificates at test time, so that none of them runs out."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from mitschnitt.recorder.tls import TlsFiles

DAY = timedelta(days=1)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Issued:
    """A certificate and its key, in PEM and as a fingerprint."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.der = certificate.public_bytes(Encoding.DER)
        self.pem = certificate.public_bytes(Encoding.PEM)
        self.key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.fingerprint = f"sha256:{hashlib.sha256(self.der).hexdigest()}"


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "Test CA", *, days: int = 1) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        now = datetime.now(UTC)
        builder = self._builder(self._name, self._key.public_key(), now - DAY, now + days * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pem = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime, end: datetime
    ) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number(), begin, end)

    def issue(self, name: str, *, uri: str = "", days: tuple[int, int] = (-1, 1)) -> Issued:
        """For this DNS name, and this URI if one is given; valid between these days from now."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        builder = self._builder(_named(name), key.public_key(), now + days[0] * DAY, now + days[1] * DAY)
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if uri:
            names.append(x509.UniformResourceIdentifier(uri))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Issued(builder.sign(self._key, hashes.SHA256()), key)


def write_files(directory: Path, own: Issued, peers: Authority, *allowed: str) -> TlsFiles:
    """The four files of one side: itself, who signs for its peers, and which of them it lets in."""
    directory.mkdir(exist_ok=True, parents=True)
    files = TlsFiles.in_directory(directory)
    files.certificate.write_bytes(own.pem)
    files.key.write_bytes(own.key_pem)
    files.key.chmod(0o600)
    files.client_ca.write_bytes(peers.pem)
    files.clients.write_text("".join(f"{entry}\n" for entry in allowed), encoding="utf-8")
    return files
