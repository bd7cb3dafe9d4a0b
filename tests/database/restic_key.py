"""A restic repository that opens at once.

restic derives a key from the password so that each opening takes half a second of computing, and the scripts open a
repository some ten times per run. In a test that kills many runs, nearly all kills would come during that. restic's key
file states the cost of scrypt (restic's doc/design.rst, «Keys, Encryption and MAC»), so it can be rewritten with the
lowest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

_NONCE = _MAC = 16  # bytes


def cheapen(repository: Path, password: str) -> None:
    """Rewrites the repository's only key for the same password, so that it costs nothing to compute."""
    (file,) = (repository / "keys").iterdir()
    key = json.loads(file.read_text())
    sealed = base64.b64decode(key["data"])
    encryption, authentication = _derive(password, key)
    nonce, text, mac = sealed[:_NONCE], sealed[_NONCE:-_MAC], sealed[-_MAC:]
    assert _poly1305_aes(authentication, nonce, text) == mac, "another password, or another format than restic's"
    plain = _aes_ctr(encryption, nonce, text)
    key |= {"N": 2, "r": 1, "p": 1}
    encryption, authentication = _derive(password, key)
    nonce = secrets.token_bytes(_NONCE)
    text = _aes_ctr(encryption, nonce, plain)
    key["data"] = base64.b64encode(nonce + text + _poly1305_aes(authentication, nonce, text)).decode()
    written = json.dumps(key).encode()
    file.with_name(hashlib.sha256(written).hexdigest()).write_bytes(written)
    file.unlink()


def _derive(password: str, key: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The keys for encryption and authentication."""
    cost = {"n": key["N"], "r": key["r"], "p": key["p"]}
    salt = base64.b64decode(key["salt"])
    derived = hashlib.scrypt(password.encode(), salt=salt, dklen=64, maxmem=2**28, **cost)
    return derived[:32], derived[32:]


def _aes_ctr(key: bytes, nonce: bytes, data: bytes) -> bytes:
    encryptor = Cipher(AES(key), CTR(nonce)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def _poly1305_aes(key: bytes, nonce: bytes, data: bytes) -> bytes:
    pad = Cipher(AES(key[:16]), ECB()).encryptor().update(nonce)  # noqa: S305 - one block, as Poly1305-AES requires
    return Poly1305.generate_tag(key[16:] + pad, data)
