"""The official Kubernetes client for a context of the kubeconfig."""

from __future__ import annotations

import os
import ssl
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, load_kube_config
from urllib3.util.ssl_ import create_urllib3_context

from lookups.credentials import CredentialsError

_LOADING: Final = threading.Lock()
"""Held while a kubeconfig is loaded: the dynamic provider handles several resources at once.

The client writes each certificate into a temporary file, and gives other threads the file's name before it has written
it, so they would read an empty file (kubernetes.config.kube_config, `_create_temp_file_with_content`).
"""


def api_client(context: str, *, retries: int | None = None) -> ApiClient:
    """The official client for a context, from KUBECONFIG or else kubectl's usual file.

    `retries` is the number of further attempts after one without connection or answer; None means the client's default,
    three. Raises `CredentialsError` if the kubeconfig does not lead to a cluster.

    By itself, the official client keeps the kubeconfig's certificates and private key in temporary files until the
    interpreter shuts down, and leaves them there if the process is killed, as the engine kills its plugins.
    """
    kubeconfig = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    configuration = Configuration(retries=retries)
    try:
        with _LOADING, TemporaryDirectory() as files:
            load_kube_config(kubeconfig, context=context, client_configuration=configuration, temp_file_path=files)
            tls = _tls(configuration)
    # A failing credential plugin, or a certificate that is not base64, raises various errors.
    except (ConfigException, OSError, ValueError, yaml.YAMLError) as error:
        raise CredentialsError(
            f"the context {context} cannot be read from {kubeconfig}: {str(error).rstrip('.')}. Export KUBECONFIG with "
            "the path of a file that has it, or name another in cluster.context"
        ) from None
    # An HTTP client prints a header that it cannot send, and with it the token.
    if any(not (token.isascii() and token.isprintable()) for token in configuration.api_key.values()):
        raise CredentialsError(
            f"the token that {kubeconfig} gives for the context {context} contains a line break or another character "
            "that no token has: write the token, or its file, again without"
        )
    client = ApiClient(configuration=configuration)
    files_unused = {"ca_certs": None, "cert_file": None, "key_file": None}
    client.rest_client.pool_manager.connection_pool_kw.update(files_unused, ssl_context=tls)
    return client


def _tls(configuration: Configuration) -> ssl.SSLContext | None:
    """The certificates and the key of the configuration, read from their files; None for an address without TLS."""
    if not configuration.host.startswith("https:"):
        return None
    tls = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE)
    if configuration.ssl_ca_cert:
        tls.load_verify_locations(configuration.ssl_ca_cert)
    else:
        tls.load_default_certs()
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, configuration.key_file)
    return tls
