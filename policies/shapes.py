"""How a secret looks, by the name of what holds it or by itself."""

from __future__ import annotations

import re
from typing import Final

SECRET_NAME: Final = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|[-._](PASS|PWD|PW)"
    r"|(API|PRIVATE|ACCESS|AUTH|ENCRYPTION|SIGNING|MASTER)[-._]?KEY|DATABASE[-._]?URL)$",
    re.IGNORECASE,
)
"""Names of environment variables, and of keys of a ConfigMap, whose values are secret."""

SHAPES: Final = {
    "an address with a password in it": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@]*:[^\s/@]+@"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a token of GitLab or GitHub": re.compile(r"\b(gl[a-z]{2,5}-|gh[pousr]_|github_pat_)[0-9A-Za-z_.-]{16,}"),
    "a signed token (JWT)": re.compile(r"\beyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]+"),
}
"""Secrets that are known by how they look, wherever they stand."""
