"""The official Kubernetes client for a context of the kubeconfig."""

from __future__ import annotations

import copy
import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.request import getproxies_environment
from weakref import WeakKeyDictionary

import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, load_kube_config
from urllib3.util.ssl_ import create_urllib3_context

from lookups.credentials import CredentialsError
from lookups.http import like_go, proxy_for

_PEM: Final = WeakKeyDictionary[Configuration, Mapping[str, bytes]]()
"""Certificates and key of each configuration, by its attributes that named their files."""
_LOADING: Final = threading.Lock()
"""Held while a kubeconfig is loaded: the dynamic provider handles several resources at once.

The client writes each certificate into a temporary file, and gives other threads the file's name before it has written
it, so they would read an empty file (kubernetes.config.kube_config, `_create_temp_file_with_content`).
"""


def api_client(context: str, *, retries: int | None = None) -> ApiClient:
    """The client for a context, from KUBECONFIG or else kubectl's usual file.

    `retries` is the number of further attempts after one without connection or answer; None means the client's default,
    three. Raises `CredentialsError` if the kubeconfig does not lead to a cluster.

    By itself, the official client keeps the kubeconfig's certificates and private key in temporary files until the
    interpreter shuts down, and leaves them there if the process is killed, as the engine kills its plugins.
    """
    kubeconfig = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    # Without a proxy, the library would choose one by other rules than kubectl and the plugin.
    configuration = Configuration(retries=retries, proxy="", no_proxy="")
    try:
        with _LOADING, TemporaryDirectory() as files:
            load_kube_config(kubeconfig, context=context, client_configuration=configuration, temp_file_path=files)
            tls = _tls(configuration)
            _PEM[configuration] = {name: Path(file).read_bytes() for name, file in _named(configuration)}
            configuration.proxy = configuration.proxy or proxy_for(configuration.host, getproxies_environment())
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
    if configuration.proxy and not configuration.proxy.startswith(("http://", "https://")):
        raise CredentialsError(
            f"the proxy (proxy-url in {kubeconfig}, or HTTPS_PROXY) of the context {context} is no HTTP proxy, the "
            "only kind that this program takes. Name one with http://, name the server in NO_PROXY, or forward a port "
            "to it (ssh -L), with the server's name as tls-server-name"
        )
    client = ApiClient(configuration=configuration)
    unused = dict.fromkeys(("ca_certs", "cert_file", "key_file"))
    client.rest_client.pool_manager.connection_pool_kw.update(unused, ssl_context=tls)
    return client


@contextmanager
def in_files(configuration: Configuration) -> Iterator[Configuration]:
    """The configuration of a client, for what takes no TLS context: in the block, what it names is in files."""
    copied = copy.copy(configuration)
    hook: Any = copied.refresh_api_key_hook
    if hook:
        hook(copied)
        copied.refresh_api_key_hook = None  # it would name the deleted files again
    with TemporaryDirectory() as directory:
        for name, pem in _PEM.get(configuration, {}).items():
            file = Path(directory) / name
            file.write_bytes(pem)
            setattr(copied, name, str(file))
        yield copied


def _named(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """The files that a configuration names, by its attributes."""
    for name in ("ssl_ca_cert", "cert_file", "key_file"):
        if file := getattr(configuration, name):
            yield name, file


def _tls(configuration: Configuration) -> ssl.SSLContext | None:
    if not configuration.host.startswith("https:"):
        return None
    tls = like_go(create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE))
    if configuration.ssl_ca_cert:
        tls.load_verify_locations(configuration.ssl_ca_cert)
    else:
        tls.load_default_certs()
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, configuration.key_file)
    return tls
