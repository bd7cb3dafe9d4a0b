"""A server's certificate and its own CA, which signs it: created once, renewed by `up`.

A Pulumi dynamic resource, because the keys must stay the same from one `up` to the next, and a certificate until its
renewal is due.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import pulumi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

LIFETIME_DAYS: Final = 730
"""Lifetime of a server's certificate."""
RENEWAL_DAYS: Final = 365
"""`up` renews a certificate with fewer days left, so with one `up` a year a certificate never expires."""
_AUTHORITY_DAYS: Final = 3650
_EARLY: Final = dt.timedelta(hours=1)
"""How far in the past a certificate's validity begins, so that clients with a slow clock accept it."""
_RECORDED: Final = ("hosts", "authority", "authority_key", "certificate", "key")


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A certificate with its key, both PEM."""

    certificate: str
    key: str

    @classmethod
    def of(cls, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Self:
        encoded = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(
            certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(), key=encoded.decode("ascii")
        )

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self.key.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - `of` writes no other
        return key

    @property
    def public(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate.encode())


class _ServerCertificateProvider(ResourceProvider):
    """Has no data: pickling records only the name of this class in the state."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        due = days_left(olds["certificate"]) < RENEWAL_DAYS
        return DiffResult(changes=due or olds["hosts"] != news["hosts"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"certificate-{secrets.token_hex(8)}", _issued(props["hosts"], None))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_issued(news["hosts"], _Pair(certificate=olds["authority"], key=olds["authority_key"])))


class ServerCertificate(Resource, module="certificate", name="ServerCertificate"):
    """Both keys are encrypted in the state. `pulumi up --replace <its URN>` also creates a new authority."""

    authority: pulumi.Output[str]
    """PEM of the CA certificate with which clients verify the server. Renewed with the same key, so that a client with
    the old CA certificate accepts the server's next certificate, and the other way round."""
    certificate: pulumi.Output[str]
    """PEM of the server's certificate."""
    key: pulumi.Output[str]
    """PEM of the server's key; secret."""

    def __init__(self, name: str, *, hosts: Sequence[str], opts: pulumi.ResourceOptions) -> None:
        """`hosts` are the names under which clients reach the server; the authority is named after the first."""
        props = dict.fromkeys(_RECORDED) | {"hosts": list(hosts)}
        secret = pulumi.ResourceOptions(additional_secret_outputs=["authority_key", "key"])
        super().__init__(_ServerCertificateProvider(), name, props, pulumi.ResourceOptions.merge(opts, secret))


def ends(certificate: str) -> dt.datetime:
    """When a PEM certificate ends."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def days_left(certificate: str) -> int:
    """Whole days until a PEM certificate ends; negative once it has ended."""
    return (ends(certificate) - dt.datetime.now(dt.UTC)).days


def _issued(hosts: Sequence[str], authority: _Pair | None) -> dict[str, Any]:
    """The state: a new certificate for the hosts, and the authority that signed it."""
    if authority is None or days_left(authority.certificate) <= LIFETIME_DAYS:
        key = authority.private if authority else ec.generate_private_key(ec.SECP256R1())
        authority = _Pair.of(_authority(hosts[0], key), key)
    own = ec.generate_private_key(ec.SECP256R1())
    server = _Pair.of(_server(hosts, own, authority), own)
    return {
        "hosts": list(hosts),
        "authority": authority.certificate,
        "authority_key": authority.key,
        "certificate": server.certificate,
        "key": server.key,
    }


def _authority(name: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    subject = _named(f"authority of {name}")
    usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
    return (
        _builder(_AUTHORITY_DAYS)
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server(hosts: Sequence[str], key: ec.EllipticCurvePrivateKey, authority: _Pair) -> x509.Certificate:
    usage = dict.fromkeys(_USAGES, False) | {"digital_signature": True}
    signing = authority.private
    return (
        _builder(LIFETIME_DAYS)
        .subject_name(_named(hosts[0]))
        .issuer_name(authority.public.subject)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA256())
    )


_USAGES: Final = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def _builder(days: int) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
