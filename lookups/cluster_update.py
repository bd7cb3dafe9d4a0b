"""Changes that CloudNativePG's operator cannot make to an existing Cluster in one step."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, Decimal
from typing import Final

from components.cloudnative_pg import HEALTHY, RESOURCE, pods_in_quota
from components.pods import quantity
from lookups.cluster import Object
from settings import Settings
from settings.commands import pulumi_command
from settings.database import DatabaseSettings
from settings.images import postgres_major
from settings.quantities import Quantity

_OPERATOR_DEFAULTS: Final = {"max_parallel_workers": "32"}
"""What the operator writes into a Cluster that does not set them, of the parameters that the settings know.

https://github.com/cloudnative-pg/cloudnative-pg/blob/v1.27.4/pkg/postgres/configuration.go, CnpgConfigurationSettings
"""


_STEPS: Final = {"cpu": Decimal("0.001"), "memory": Decimal(2**20)}
"""What a proposed amount is a multiple of."""


def find_problems(settings: Settings, database: DatabaseSettings, live: Object) -> Iterator[str]:
    """Problems, each with its fix."""
    yield from _image_and_parameters(settings, database, live)
    yield from _far_less(settings, database, live)


def _far_less(settings: Settings, database: DatabaseSettings, live: Object) -> Iterator[str]:
    """Resources that are lowered so far that the quota would refuse the first instance to be replaced.

    The quota shrinks at once. The operator deletes one pod and creates it with less, while the others still have what
    they had; if that is refused, it tries for ever, with an instance less.
    """
    spec = live.get("spec") or {}
    others, room = int(spec.get("instances") or 1) - 1, pods_in_quota(database) - 1
    for kind in ("requests", "limits"):
        for name, step in _STEPS.items():
            has = ((spec.get("resources") or {}).get(kind) or {}).get(name)
            wanted: Quantity = getattr(getattr(database.resources, kind), name)
            before = Quantity(has).amount if has is not None else Decimal(0)
            if before <= wanted.amount or before * others <= wanted.amount * room:
                continue
            least = (before * others / room / step).to_integral_value(ROUND_CEILING) * step
            yield (
                f"database.resources.{kind}.{name} is {wanted}, and the instances of the Cluster "
                f"{settings.names.database} have {has}. The namespace's quota shrinks at once, the instances one after "
                "the other, so that it would refuse the first. Lower it in steps: to "
                f"{quantity(least, binary=name == 'memory')} or more now, and further once this says "
                f"{HEALTHY!r}:\n    kubectl -n {settings.namespace} get {RESOURCE} {settings.names.database}"
            )


def _image_and_parameters(settings: Settings, database: DatabaseSettings, live: Object) -> Iterator[str]:
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
