"""Changes that CloudNativePG's operator refuses to make to an existing Cluster in one step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lookups.cluster import Object
from settings import Settings
from settings.commands import pulumi_command
from settings.database import DatabaseSettings
from settings.images import postgres_major

_OPERATOR_DEFAULTS: Final = {"max_parallel_workers": "32"}
"""What the operator writes into a Cluster that does not set them, of the parameters that the settings know.

https://github.com/cloudnative-pg/cloudnative-pg/blob/v1.27.4/pkg/postgres/configuration.go, CnpgConfigurationSettings
"""


def find_problems(settings: Settings, database: DatabaseSettings, live: Object) -> Iterator[str]:
    """A new image together with new parameters: instances are replaced one by one, and all must suit the primary.

    Operator 1.27 refuses this for a single instance, too; later versions do not.
    """
    spec = live.get("spec") or {}
    image, wanted = spec.get("imageName"), database.operand_image
    differing = _differing(database, (spec.get("postgresql") or {}).get("parameters") or {})
    # `up` never changes the major version.
    if image in {None, wanted} or postgres_major(image) != postgres_major(wanted) or not differing:
        return
    key = f"{settings.project}:database.operandImage"
    yield (
        f"database.operandImage is {wanted}, the Cluster {settings.names.database} runs {image}, and other parameters "
        f"of the server change as well ({', '.join(differing)}; by default they follow resources.limits.memory). The "
        "operator refuses both in one step. Take the parameters first:\n"
        f"    {pulumi_command('config set', settings.stack, '--path', key, image)}\n"
        f"    {pulumi_command('up', settings.stack)}\n"
        "and then set database.operandImage again"
    )


def _differing(database: DatabaseSettings, live: Object) -> list[str]:
    wanted = database.server_parameters
    names = wanted.keys() | type(database.parameters).model_fields.keys()
    defaults = _OPERATOR_DEFAULTS
    return sorted(name for name in names if live.get(name, defaults.get(name)) != wanted.get(name, defaults.get(name)))
