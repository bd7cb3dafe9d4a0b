"""What secrets look like: the names of their keys, and the values themselves."""

from __future__ import annotations

import re
from typing import Final

SECRET_NAME: Final = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|(^|[-._]|DB|PG|SMTP|MAIL)(PASS|PWD|PW)|(^|[-._])JWT"
    r"|(API|PRIVATE|ACCESS|AUTH|ENCRYPTION|SIGNING|MASTER|SECRET|SESSION|COOKIE|JWT)[-._]?KEY|DATABASE[-._]?URL"
    r"|(^|[-._])AUTHORIZATION)$",
    re.IGNORECASE,
)
"""Names of environment variables, and of keys of a ConfigMap, whose values are secret."""

SHAPES: Final = {
    "an address with a password in it": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@]*:[^\s/@]+@"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a token of GitLab or GitHub": re.compile(r"\b(gl[a-z]{2,5}-|gh[pousr]_|github_pat_)[0-9A-Za-z_.-]{16,}"),
    "a key of a cloud service": re.compile(
        r"\b(A[KS]IA[0-9A-Z]{16}\b|ops_eyJ\w{16,}|xox[abeprs]-[\w-]{10,}|[rs]k_(live|test)_\w{16,}|hv[bsr]\.[\w-]{20,})"
    ),
    "a signed token (JWT)": re.compile(r"\beyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]+"),
}
"""Secrets that are recognisable by their value, in any place."""
