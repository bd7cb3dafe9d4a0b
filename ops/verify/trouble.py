"""Messages for what is wrong, or could not be checked. They contain only texts that hold no secret."""

from __future__ import annotations

from typing import Final

import cloudflare
import httpx
from gitlab.exceptions import GitlabError
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError
from requests import RequestException
from urllib3.exceptions import HTTPError

from components.tunnel import TunnelError
from lookups.cloudflare import UnusableError
from lookups.cloudflare_api import CloudflareError
from lookups.cluster import ClusterError, ForbiddenError
from lookups.credentials import CredentialsError
from lookups.onepassword import SecretProblemError
from lookups.tunnel_document import TunnelDocumentError
from ops.kube.cluster import reason_given

CLUSTER_FIX: Final = "check with kubectl that this kubeconfig's user may read the stack's namespace, Secrets included"
GITLAB_FIX: Final = "GITLAB_TOKEN must be valid, have the scope api, and belong to a Maintainer of the app's project"
CLOUDFLARE_FIX: Final = "CLOUDFLARE_API_TOKEN must be valid, and have the permissions that the README lists"
NETWORK_FIX: Final = (
    "check the address, DNS, routes and certificates from this machine (SSL_CERT_FILE names private ones)"
)

_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


class CheckError(Exception):
    """The live system is not as it should be: what was seen (never a secret), and how to fix it."""

    def __init__(self, seen: str, fix: str) -> None:
        super().__init__(seen, fix)
        self.seen, self.fix = seen, fix


def explain(error: Exception) -> tuple[str, str]:
    """Why a check could not be made, and what to do about it."""
    match error:
        case CredentialsError():
            return str(error), "set the environment as for `pulumi up`"
        case SecretProblemError():
            return f"{error.subject}: {error.what}", error.fix
        case TunnelError() | TunnelDocumentError() | CloudflareError() | UnusableError():
            answered = getattr(error, "status", _SERVER_ERROR) is not None
            return str(error), CLOUDFLARE_FIX if answered else NETWORK_FIX
        case ClusterError():
            said = f"the API server gives no usable answer: {error.reason}"
            return said, CLUSTER_FIX if isinstance(error, ForbiddenError) else NETWORK_FIX
        case ResourceNotFoundError():
            return f"the API server knows no such kind: {error}", "install the CRDs that the kind belongs to"
        case ApiException() | DynamicApiError():
            said = f"the API server answers {error.status} {error.reason}{reason_given(error.body)}"
            return said, _unless_busy(error.status, CLUSTER_FIX)
        case ConfigException():
            return f"the kubeconfig cannot be used: {error}", CLUSTER_FIX
        case GitlabError():
            return _of_gitlab(error)
        case cloudflare.APIStatusError():
            said = "; ".join(f"{one.message} ({one.code})" for one in error.errors) or error.message
            return f"Cloudflare answers {error.status_code}: {said}", _unless_busy(error.status_code, CLOUDFLARE_FIX)
        case cloudflare.APIConnectionError():
            return f"Cloudflare does not answer: {error.__cause__ or error}", NETWORK_FIX
        case httpx.HTTPError() | RequestException() | HTTPError() | OSError():
            return f"no answer: {type(error).__name__}: {error}", NETWORK_FIX
    # Its text could contain any data, so only the type is shown.
    return f"{type(error).__name__}", "this is a bug in `python -m ops` itself: report it with the check's name"


def _of_gitlab(error: GitlabError) -> tuple[str, str]:
    if error.response_code is None:
        return f"what answers for GitLab is not its API: {error.error_message}", NETWORK_FIX
    said = f"GitLab answers {error.response_code}: {error.error_message}"
    return said, _unless_busy(error.response_code, GITLAB_FIX)


def _unless_busy(status: int, fix: str) -> str:
    """The fix for a refusal, unless another attempt later may succeed."""
    return "try again in some minutes" if status == _TOO_MANY or status >= _SERVER_ERROR else fix
