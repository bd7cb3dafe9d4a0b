"""A public address that `up` looks up in Cloudflare."""

from __future__ import annotations

from typing import Any, Final

import pytest

from lookups.cloudflare import PublicAccessError, look_up
from rehearsal.homelab import TUNNEL, ZONE
from settings.access import PublicAccessSettings
from tests.stacks import PROD

HOST: Final = f"invoicetron.{ZONE}"


def public(**changed: Any) -> PublicAccessSettings:
    base = PublicAccessSettings(zone=ZONE, hostname=HOST, tunnel=TUNNEL, policy_name="Allow Admin")
    return base.model_copy(update=changed)


def refusal(**changed: Any) -> str:
    with pytest.raises(PublicAccessError) as refused:
        look_up(public(**changed), PROD, port=3000)
    return str(refused.value)
