"""An SDK that is loaded piece by piece behaves like the whole SDK."""

from __future__ import annotations

import pulumi
import pytest

from sdks import gitlab, kubernetes


def test_a_function_is_found_even_after_its_module_was_loaded_for_another() -> None:
    assert callable(gitlab.get_project_output)
    assert callable(gitlab.get_project)


def test_a_name_that_the_sdk_does_not_have_is_an_attribute_error() -> None:
    # DeployToken was removed in version 10.
    with pytest.raises(AttributeError, match="DeployToken"):
        gitlab.DeployToken  # type: ignore[attr-defined]  # noqa: B018 - the test is that it is missing


def test_the_types_of_outputs_do_not_take_the_place_of_the_resources_of_their_name() -> None:
    assert not issubclass(kubernetes.core.v1.outputs.ResourceQuota, pulumi.Resource)
    assert issubclass(kubernetes.core.v1.ResourceQuota, pulumi.Resource)
