"""Who we are and whom we let in over TLS: certificate, key, CA of the clients, and the list of those allowed.

Mutual always (RFC 7866, 12.1): a client without a certificate of the CA does not finish the handshake, and one that
is not on the list loses the connection before a byte of SIP is read. Opens no socket; reads files when asked to.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from mitschnitt.errors import ConfigError

FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")
MAX_NAMES = 64  # subjectAltNames of one certificate that are looked at; real ones have a handful
FINGERPRINT_KIND = "sha256:"
# Forward secrecy and authenticated ciphers only; TLS 1.3 has nothing else.
CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"

log = logging.getLogger("mitschnitt.recorder")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where everything lies, and who may connect."""

    certificate: Path  # PEM, with intermediates behind it
    key: Path  # PEM without password, mode 0600
    client_ca: Path  # PEM: who may sign certificates of clients
    clients: Path  # the allow-list: a line each, see `allow_list`

    @classmethod
    def in_directory(cls, directory: Path) -> TlsFiles:
        """The four by the names that the configuration proposes."""
        return cls(*(directory / name for name in ("certificate.pem", "key.pem", "client-ca.pem", "clients")))


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is in force for a connection that begins now."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    allowed: frozenset[str]

    def admits(self, certificate: bytes | None) -> bool:
        """Whether the peer with this certificate (DER) is on the list; nobody without one, nobody on an empty list."""
        return certificate is not None and not self.allowed.isdisjoint(names_of(certificate))


def names_of(certificate: bytes) -> frozenset[str]:
    """By what a certificate (DER) can be on the list: its fingerprint, DNS names and URIs (RFC 5922, 7.1).

    The subject's common name is no name once there are others (RFC 5922, 7.1). A name that is written like a
    fingerprint is none, for an authority would sign it as a URI. Never raises.
    """
    fingerprint = f"{FINGERPRINT_KIND}{hashlib.sha256(certificate).hexdigest()}"
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return frozenset({fingerprint})
    hosts = [name.lower() for name in found.get_values_for_type(x509.DNSName) if ":" not in name]
    uris = [name.lower() for name in found.get_values_for_type(x509.UniformResourceIdentifier) if ":" in name]
    named = [name for name in (*hosts, *uris)[:MAX_NAMES] if not name.startswith(FINGERPRINT_KIND)]
    return frozenset({fingerprint, *named})


def allow_list(text: str) -> frozenset[str]:
    """The list as it is compared: `sha256:<hex>` of a certificate, or one of its names, a line each; `#` comments.

    ConfigError for a line that could never fit, and for a list without any: nobody could connect.
    """
    found = set()
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.partition("#")[0].strip().lower()
        if entry.startswith(FINGERPRINT_KIND):
            entry = FINGERPRINT_KIND + entry.removeprefix(FINGERPRINT_KIND).replace(":", "")  # openssl writes colons
            if not FINGERPRINT.fullmatch(entry):
                raise ConfigError(f"tls: line {number} of the clients' list: expected sha256: and 64 hex digits")
        elif "*" in entry or len(entry.split()) > 1:
            raise ConfigError(f"tls: line {number} of the clients' list: expected a fingerprint or one exact name")
        if entry:
            found.add(entry)
    if not found:
        raise ConfigError("tls: the clients' list is empty, so nobody could connect; expected a name or fingerprint")
    return frozenset(found)


def load_credentials(files: TlsFiles) -> Credentials:
    """What the files hold now. ConfigError says which of them is wrong, and how."""
    allowed = allow_list(_text(files.clients))
    mode = stat.S_IMODE(_stat(files.key).st_mode)
    if mode & 0o077:
        raise ConfigError(f"tls: the key {files.key} has mode {mode:04o}; expected 0600")
    contexts = []
    for side in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(side)
        context.check_hostname = False  # an allow-list names peers, whatever address they have (RFC 5922, 7.3)
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 7866, 12.1; RFC 8996
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        # A resumed session would not look at the certificate's end again.
        context.options |= ssl.OP_NO_TICKET
        if side is ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0
        context.set_ciphers(CIPHERS_1_2)
        try:
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError(f"tls: {files.certificate} and {files.key} are no pair: {_why(error)}") from error
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"tls: {files.client_ca} holds no certificates: {_why(error)}") from error
        contexts.append(context)
    return Credentials(contexts[0], contexts[1], allowed)


def _no_password() -> str:
    raise ValueError("the key is locked with a password; expected one without")


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise ConfigError(f"tls: cannot read {path}: {error.strerror}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"tls: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"tls: {path} is not UTF-8") from error


class Tls:
    """The credentials in force, renewed when the files change; a broken file leaves the old ones in force."""

    def __init__(self, files: TlsFiles) -> None:
        """ConfigError when the files do not serve."""
        self.files = files
        self._seen = _state(files)
        self.current = load_credentials(files)

    def renew(self) -> bool:
        """Whether new credentials are in force; reads the files only when one of them changed."""
        seen = _state(self.files)
        if seen == self._seen:
            return False
        self._seen = seen  # also when they are broken: the log says so once, not every second
        try:
            self.current = load_credentials(self.files)
        except ConfigError:
            log.error("changed TLS files do not serve; the old ones stay in force, `mitschnitt doctor` says why")
            return False
        log.info("changed TLS files are in force")
        return True


def _state(files: TlsFiles) -> tuple[tuple[int, int, int], ...]:
    return tuple(_identity(path) for path in (files.certificate, files.key, files.client_ca, files.clients))


def _identity(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written or exchanged; zeros while it is not there."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)
