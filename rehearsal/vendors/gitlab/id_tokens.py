"""GitLab's ID tokens for jobs, and the two documents with which others verify its signature.

The claims are those of `lib/gitlab/ci/jwt.rb`, `jwt_v2.rb` and `lib/json_web_token/user_project_token_claims.rb`; all
except the times are strings. https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from functools import cached_property
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from rehearsal.homelab import GITLAB

ISSUER: Final = f"https://{GITLAB}"
_KEY: Final = "rehearsal"
_EARLIER: Final = 5  # seconds that a token is valid before its creation: NOT_BEFORE_TIME


class IdTokens:
    """One key for all projects of a GitLab."""

    def __init__(self) -> None:
        self.handed_out: set[str] = set()

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def issue(
        self,
        project: int,
        path: str,
        *,
        audience: str,
        ref: str,
        protected: bool,
        environment: str | None,
        ref_type: str = "branch",
        seconds: int = 1800,
        claims: dict[str, Any] | None = None,
    ) -> str:
        """The token of a job with a timeout of `seconds`; `claims` add to GitLab's or replace them."""
        now = int(time.time())
        payload = {
            "namespace_path": path.rpartition("/")[0],
            "project_id": str(project),
            "project_path": path,
            "job_project_id": str(project),
            "job_project_path": path,
            "user_id": "1",
            "user_login": "developer",
            "pipeline_id": "1",
            "pipeline_source": "push",
            "job_id": "1",
            "ref": ref,
            "ref_type": ref_type,
            "ref_path": f"refs/{'heads' if ref_type == 'branch' else 'tags'}/{ref}",
            "ref_protected": json.dumps(protected),
            "runner_environment": "self-hosted",
            "project_visibility": "private",
            "jti": str(uuid.uuid4()),
            "iss": ISSUER,
            "iat": now,
            "nbf": now - _EARLIER,
            "exp": now + seconds,
            "sub": f"project_path:{path}:ref_type:{ref_type}:ref:{ref}",
            "aud": audience,
            **({"environment": environment, "environment_protected": "false"} if environment else {}),
            **(claims or {}),
        }
        signed = f"{_encoded({'alg': 'RS256', 'kid': _KEY, 'typ': 'JWT'})}.{_encoded(payload)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), SHA256())
        token = f"{signed}.{_in_base64(signature)}"
        self.handed_out.add(token)
        return token

    def app(self) -> Starlette:
        """What GitLab serves to anybody: the issuer's configuration and its keys."""

        def configuration(request: Request) -> JSONResponse:
            return JSONResponse(
                {
                    "issuer": ISSUER,
                    "jwks_uri": f"{request.base_url}oauth/discovery/keys",
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            )

        def keys(_request: Request) -> JSONResponse:
            numbers = self._key.public_key().public_numbers()
            n, e = (_in_base64(one.to_bytes((one.bit_length() + 7) // 8)) for one in (numbers.n, numbers.e))
            return JSONResponse({"keys": [{"kty": "RSA", "kid": _KEY, "use": "sig", "alg": "RS256", "n": n, "e": e}]})

        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", configuration),
                Route("/oauth/discovery/keys", keys),
            ]
        )


def _encoded(part: dict[str, Any]) -> str:
    return _in_base64(json.dumps(part).encode())


def _in_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
