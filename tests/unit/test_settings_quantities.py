"""Amounts of CPU, memory and storage: what is accepted is what Kubernetes reads, and something can start with it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import Settings
from settings.quantities import Cpu, Memory, Quantity, Storage
from tests.stacks import PROD
from tests.unit.stack_files import accepts, refusal_of, with_value


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("250m", "0.25"),
        ("2", "2"),
        (2, "2"),
        (0.5, "0.5"),
        (".5", "0.5"),
        ("1Ki", "1024"),
        ("10Gi", str(10 * 2**30)),
        ("1G", "1000000000"),
        ("1k", "1000"),
        ("1E", "1e18"),
        ("1e3", "1000"),
        ("12E-1", "1.2"),
        ("100n", "1e-7"),
    ],
)
def test_a_quantity_has_the_amount_that_kubernetes_reads(written: object, amount: str) -> None:
    quantity = Quantity.parse(written)
    assert quantity.amount == Decimal(amount)
    assert quantity == str(written)


SPELLED_WRONG = ["", "1K", "1gi", "1 Gi", " 1Gi", "1Gi ", "1Gi\n", "1.5.5", "Gi", "i", "inf", "nan", "٣"]
NOT_ABOVE_ZERO = ["-1", "-1Gi", "0", "0Mi", -1, 0, 0.0]


@pytest.mark.parametrize("kind", [Quantity, Cpu, Memory, Storage])
@pytest.mark.parametrize("written", [*SPELLED_WRONG, *NOT_ABOVE_ZERO, True, None, ["1"], float("nan"), float("inf")])
def test_a_value_that_is_not_a_positive_quantity_is_refused(kind: type[Quantity], written: object) -> None:
    assert not accepts(kind, written)


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (Cpu, "1m"),
        (Cpu, "250m"),
        (Cpu, "1000m"),
        (Cpu, 2),
        (Cpu, 0.5),
        (Cpu, ".125"),
        (Cpu, "128"),
        (Memory, "16Mi"),
        (Memory, "512Mi"),
        (Memory, "1.5Gi"),
        (Memory, "512M"),
        (Memory, "1e9"),
        (Memory, 536870912),
        (Memory, "1Ti"),
        (Storage, "1Gi"),
        (Storage, "10G"),
        (Storage, "100Ti"),
    ],
)
def test_amounts_that_something_can_start_with_are_accepted(kind: type[Quantity], written: object) -> None:
    assert accepts(kind, written)


def refusal_of_amount(path: str, written: object) -> str:
    """The message for one amount, in otherwise complete and correct resources."""
    above, found, inside = path.partition("esources.")
    if found:
        resources = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
        kind, name = inside.split(".")
        message = refusal_of(f"{above}esources", {**resources, kind: {**resources[kind], name: written}})
    else:
        message = refusal_of(path, written)
    assert f"invoicetron:{path}\n" in message
    return message


@pytest.mark.parametrize(
    ("path", "written", "meant"),
    [
        ("database.resources.limits.memory", "512m", "512Mi"),
        ("database.resources.limits.memory", "512", "512Mi"),
        ("app.resources.limits.memory", 512, "512Mi"),
        ("app.resources.limits.memory", "512mb", "512Mi"),
        ("app.resources.limits.memory", "1gi", "1Gi"),
        ("backup.resources.limits.memory", "512 Mi", "512Mi"),
        ("backup.drillResources.limits.memory", "512k", None),
        ("app.resources.limits.memory", "512000000000m", None),
        ("app.resources.limits.memory", "1u", None),
        ("app.resources.limits.memory", "512n", None),
        ("app.resources.limits.memory", "15Mi", None),
        ("app.resources.limits.memory", "16777216.5", None),
        ("app.resources.limits.memory", "1e3", None),
        ("app.resources.limits.memory", "1E", None),
        ("app.resources.limits.memory", "1Ei", None),
        ("app.resources.limits.memory", "1e99", None),
        ("app.resources.limits.cpu", "500Mi", "500m"),
        ("app.resources.limits.cpu", "500", "500m"),
        ("app.resources.limits.cpu", 500, "500m"),
        ("app.resources.limits.cpu", "500M", "500m"),
        ("app.resources.limits.cpu", "0.5m", None),
        ("app.resources.limits.cpu", "0.0005", None),
        ("app.resources.limits.cpu", "100n", None),
        ("app.resources.limits.cpu", "100u", None),
        ("app.resources.limits.cpu", "0m", None),
        ("app.resources.limits.cpu", "2E", None),
        ("app.resources.limits.cpu", "1Ei", None),
        ("database.size", "10", "10Gi"),
        ("database.size", "10g", "10Gi"),
        ("database.size", "10GB", "10Gi"),
        ("database.size", "10m", None),
        ("database.size", "10Mi", None),
        ("database.size", "1e3", None),
        ("database.size", "1Ei", None),
        ("backup.size", "1023Mi", None),
        ("backup.size", "500m", None),
    ],
)
def test_senseless_amounts_are_refused_with_what_was_probably_meant(
    path: str, written: object, meant: str | None
) -> None:
    message = refusal_of_amount(path, written)
    if meant:
        assert f"did you mean {meant}?" in message
    else:
        assert "did you mean" not in message


def test_a_senseless_request_is_refused_too() -> None:
    assert "did you mean 256Mi?" in refusal_of_amount("database.resources.requests.memory", "256m")


def test_requests_and_limits_are_compared_by_amount() -> None:
    both = {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": 1, "memory": "1Gi"}}
    assert Settings.load(PROD, with_value("prod", "app.resources", both))


def test_ephemeral_storage_is_not_a_setting() -> None:
    assert "a key that does not exist" in refusal_of_amount("app.resources.limits.ephemeralStorage", "1Gi")


@given(st.integers(1, 10**6), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_a_quantity_of_more_units_is_more(number: int, suffix: str) -> None:
    assert Quantity(f"{number}{suffix}").amount < Quantity(f"{number + 1}{suffix}").amount


@given(st.decimals(0, 10**15, places=4), st.sampled_from(["", *"numkMGTPE", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]))
def test_accepted_amounts_are_whole_and_within_what_can_start(number: Decimal, suffix: str) -> None:
    written = f"{number.normalize():f}{suffix}"
    amount = Quantity(written).amount
    if accepts(Cpu, written):
        assert Decimal("0.001") <= amount <= 128
        assert amount * 1000 % 1 == 0
    for kind, least in ((Memory, 2**24), (Storage, 2**30)):
        if accepts(kind, written):
            assert amount >= least
            assert amount % 1 == 0
