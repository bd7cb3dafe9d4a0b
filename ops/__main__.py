"""Operations on live stacks: `python -m ops --help`, in the program's directory, with the providers' environment."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from cloudflare import APIConnectionError, CloudflareError
from gitlab import GitlabError
from kubernetes.client.exceptions import ApiException
from requests import RequestException
from urllib3.exceptions import HTTPError

from components.tunnel import TunnelError
from lookups import cloudflare_api, cluster
from lookups.credentials import CredentialsError
from lookups.onepassword_client import AccountError
from ops.clients import gitlab_words
from ops.command_line import PulumiError
from ops.commands import app
from ops.kube.cluster import ClusterError, StoppedError, error_message
from ops.kube.job import JobFailedError
from ops.mirrors import MirrorError
from ops.restore.source import SourceError
from settings import SettingsError


def _main() -> NoReturn:
    try:
        app()
    except StoppedError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(128 + error.signal)
    except (ApiException, HTTPError) as error:
        sys.exit(error_message(error))
    except (RequestException, GitlabError) as error:  # python-gitlab does not wrap the former
        sys.exit(gitlab_words(error))
    except AccountError as error:
        sys.exit(f"1Password refuses: {error}")
    except APIConnectionError as error:
        sys.exit(f"Cloudflare does not answer: {error.__cause__ or error}. Check DNS, routes and proxies")
    except CloudflareError as error:
        sys.exit(f"Cloudflare refuses: {error}. The README says what CLOUDFLARE_API_TOKEN needs")
    except (
        PulumiError,
        SettingsError,
        SourceError,
        ClusterError,
        JobFailedError,
        MirrorError,
        CredentialsError,
        TunnelError,
        cloudflare_api.CloudflareError,
        cluster.ClusterError,
    ) as error:
        sys.exit(str(error))
    except BrokenPipeError:
        sys.exit(1)  # nobody reads the output any more
    except OSError as error:
        sys.exit(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    raise SystemExit(0)


if __name__ == "__main__":
    try:
        _main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # the reader is gone
                stream.flush()
        # Threads that still read from the API server hold locks, at which the interpreter's normal shutdown aborts.
        os._exit(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
