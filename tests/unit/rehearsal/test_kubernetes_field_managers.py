"""Who owns which field, before and while an update is applied."""

from __future__ import annotations

from rehearsal.plugins.kubernetes.field_managers import absorb, must_force, without_ignored
from rehearsal.plugins.kubernetes.objects import Object

OURS = "pulumi-kubernetes-0123abcd"


def entry(manager: str, operation: str = "Update", subresource: str = "", **fields: Object) -> Object:
    owned = {f"f:{name}": value for name, value in fields.items()}
    found: Object = {"manager": manager, "operation": operation, "fieldsV1": owned}
    return {**found, "subresource": subresource} if subresource else found


def live(*entries: Object, **rest: Object) -> Object:
    return {"metadata": {"managedFields": list(entries)}, **rest}


def test_fields_of_the_creator_and_of_any_kubectl_manager_are_taken_over() -> None:
    theirs = entry("kube-controller-manager", subresource="status", status={})
    owners = absorb(
        live(entry("pulumi-kubernetes", spec={"f:a": {}}), entry("kubectl-set", spec={"f:b": {}}), theirs), OURS
    )
    assert owners == [theirs, entry(OURS, "Apply", spec={"f:a": {}, "f:b": {}})]


def test_a_manager_of_another_name_keeps_what_it_owns() -> None:
    assert absorb(live(entry(OURS, "Apply", spec={}), entry("gitlab-ci", spec={})), OURS) is None


def test_an_ignored_field_that_only_another_owns_is_not_sent() -> None:
    found = live(entry("gitlab-ci", spec={"f:replicas": {}}), spec={"replicas": 3})
    assert without_ignored({"spec": {"replicas": 1}}, found, ["spec.replicas"], OURS) == {"spec": {}}


def test_an_ignored_field_of_ours_is_sent_with_its_live_value() -> None:
    found = live(entry(OURS, "Apply", spec={"f:replicas": {}}), spec={"replicas": 3})
    assert without_ignored({"spec": {"replicas": 1}}, found, ["spec.replicas"], OURS) == {"spec": {"replicas": 3}}


def test_an_ignored_path_through_a_list_is_sent_with_its_recorded_value() -> None:
    found = live(entry("gitlab-ci", spec={"f:containers": {}}), spec={"containers": [{"image": "new"}]})
    recorded = {"spec": {"containers": [{"image": "placeholder"}]}}
    assert without_ignored(recorded, found, ["spec.containers[0].image"], OURS) == recorded


def test_the_preview_of_the_first_update_forces_and_the_update_itself_does_not() -> None:
    created = live(entry("pulumi-kubernetes"))
    assert must_force({}, created, preview=True, enabled=False)
    assert not must_force({}, created, preview=False, enabled=False)
    assert not must_force({}, live(entry(OURS, "Apply")), preview=True, enabled=False)


def test_the_annotation_and_the_option_of_the_provider_force() -> None:
    found = live(entry(OURS, "Apply"))
    assert must_force(
        {"metadata": {"annotations": {"pulumi.com/patchForce": "true"}}}, found, preview=False, enabled=False
    )
    assert must_force({}, found, preview=False, enabled=True)
    assert not must_force({}, found, preview=False, enabled=False)
