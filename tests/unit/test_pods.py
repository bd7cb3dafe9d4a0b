"""Quantities as the API server writes them back, and what pods use in total."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.pods import Footprint, quantity
from settings.quantities import Cpu, Memory, Quantity
from settings.section import Amounts, Resources
from tests.unit.program import amount


@pytest.mark.parametrize(
    ("written", "binary", "read_back"),
    [
        ("2000m", False, "2"),
        ("0.5", False, "500m"),
        ("1500m", False, "1500m"),
        ("1024Mi", True, "1Gi"),
        ("1.5Gi", True, "1536Mi"),
        ("1G", True, "1G"),
        ("1000", True, "1k"),
        ("1025", True, "1025"),
    ],
)
def test_a_quantity_is_written_as_the_api_server_writes_it_back(written: str, binary: bool, read_back: str) -> None:
    assert quantity(Quantity(written).amount, binary=binary) == read_back


@given(st.integers(min_value=1, max_value=10**21), st.booleans())
def test_no_amount_is_changed_by_the_way_it_is_written(nanos: int, binary: bool) -> None:
    cores = Decimal(nanos).scaleb(-9)
    assert amount(quantity(cores, binary=binary)) == cores


def test_an_amount_finer_than_kubernetes_counts_is_refused() -> None:
    with pytest.raises(ValueError, match="finer than Kubernetes counts"):
        quantity(Decimal("1e-10"))


def test_footprints_add_up_without_rounding() -> None:
    each = Resources(
        requests=Amounts(cpu=Cpu("100m"), memory=Memory("256Mi")),
        limits=Amounts(cpu=Cpu("0.5"), memory=Memory("1Gi")),
    )
    total = Footprint.total([Footprint.of(each, pods=2), Footprint.of(each)])
    assert total.hard() == {
        "requests.cpu": "300m",
        "limits.cpu": "1500m",
        "requests.memory": "768Mi",
        "limits.memory": "3Gi",
    }
