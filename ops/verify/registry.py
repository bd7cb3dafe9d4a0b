"""Checks that GitLab's registry has the running image and the one that a rollback would deploy, and keeps both.

The project's clean-up policy is not a resource of this program: for the provider it is part of the whole project.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gitlab.exceptions import GitlabGetError

from ops.verify.check import Check
from ops.verify.cluster import moment
from ops.verify.systems import Object, Systems
from ops.verify.trouble import CheckError
from settings.images import image_repository

_REVISIONS: Final = ("deployment.kubernetes.io/revision-history", "deployment.kubernetes.io/revision")
"""Annotations on a ReplicaSet: which revisions of the Deployment it was before, and which it was last."""
_ENOUGH: Final = 25
"""Tags to keep of each image: one of the numbers that GitLab offers."""
_NOT_FOUND: Final = 404
_POLICY: Final = "Settings > Packages and registries > Container registry > Cleanup policies"


@dataclass(frozen=True, kw_only=True)
class CleanUpPolicy:
    """GitLab's rules, as Projects::ContainerRepository::CleanupTagsBaseService applies them.

    `older_than` is not among them: it says when a tag is removed, and the tags here should never be.
    """

    keep_n: int | None
    """How many of the removable tags it keeps, the newest; None for none."""
    name_regex: str
    """Tags that it removes; an empty expression matches none."""
    name_regex_keep: str
    """Tags that it keeps among these."""

    @classmethod
    def of(cls, project: Mapping[str, Any]) -> CleanUpPolicy | None:
        """The policy of a project, as GitLab's API returns it; None if it is disabled."""
        found = project.get("container_expiration_policy") or {}
        if not found.get("enabled"):
            return None
        keep_n = found.get("keep_n")
        return cls(
            keep_n=int(keep_n) if keep_n is not None else None,
            name_regex=found.get("name_regex") or "",
            name_regex_keep=found.get("name_regex_keep") or "",
        )

    def removes(self, tag: str) -> bool:
        """Whether the policy removes a tag of this name, unless it is among the newest. It never removes `latest`."""
        return _matches(self.name_regex, tag) and not _matches(self.name_regex_keep, tag) and tag != "latest"


def _matches(expression: str, tag: str) -> bool:
    # Without a group, as GitLab does: of `a|b`, only `a` is bound to the tag's beginning, and only `b` to its end.
    return re.search(rf"\A{expression}\Z", tag) is not None


def images(systems: Systems) -> str:
    """The running image and the one before it are in the registry and stay there."""
    needed = list(_needed(systems))
    repository = image_repository(systems.settings.app.image)
    prefix = systems.project.attributes.get("container_registry_image_prefix")
    if not prefix or not f"{repository}/".startswith(f"{prefix}/"):
        return f"{repository} is not in the project's registry"
    if not needed:
        return f"nothing that runs has a tag of {repository}"
    listed = systems.project.repositories.list(iterator=True)
    found = next((one for one in listed if one.location == repository), None)
    if found is None:
        raise CheckError(f"the project's registry has no {repository}", _deploy(systems))
    wrong = [problem for image in needed if (problem := _lost(found, image))]
    if wrong:
        raise CheckError("; ".join(wrong), _deploy(systems))
    tags = [_tag(image) for image in needed]
    policy = CleanUpPolicy.of(systems.project.attributes)
    if policy is None:
        return f"{', '.join(tags)}: in the registry, whose clean-up policy is off"
    if endangered := _endangered(policy, found, tags):
        raise CheckError(
            f"GitLab's clean-up policy removes {', '.join(endangered)}, which run, or which a rollback would deploy",
            f"in GitLab ({_POLICY}) keep the {_ENOUGH} most recent tags of each image, or these tags by name",
        )
    return f"{', '.join(tags)}: in the registry, and kept by its clean-up policy"


def _needed(systems: Systems) -> Iterator[str]:
    """The running image and the one that the job `rollback` would deploy, as far as the pipeline built them."""
    repository, name = image_repository(systems.settings.app.image), systems.names.app
    sets = [
        one
        for one in systems.list("apps/v1", "ReplicaSet")
        if any(owner["name"] == name for owner in one["metadata"].get("ownerReferences", []))
    ]
    running = _image(systems.need("apps/v1", "Deployment", name), name)
    ran = [image for _, image in sorted((revision, _image(one, name)) for one in sets for revision in _revisions(one))]
    for image in reversed(_stack([*filter(None, ran), running])[-2:]):
        if image != systems.settings.app.image and image_repository(image) == repository and _tag(image):
            yield image


def _revisions(replica_set: Object) -> Iterator[int]:
    annotations = replica_set["metadata"].get("annotations", {})
    for key in _REVISIONS:
        yield from (int(number) for number in annotations.get(key, "").split(",") if number)


def _stack(ran: Iterable[str]) -> list[str]:
    """The images that rollbacks would go through, the running one last; `ran` are all that ran, in order.

    An image that ran before is a way back to it, and drops what ran since, such as one that did not become ready.
    """
    stack: list[str] = []
    for image in ran:
        names = [_without_digest(earlier) for earlier in stack]
        name = _without_digest(image)
        stack[names.index(name) if name in names else len(stack) :] = [image]
    return stack


def _without_digest(image: str) -> str:
    """The image's name up to its tag, as ROLLBACK_TAG gives it; whole without a tag."""
    return image.partition("@")[0] if _tag(image) else image


def _image(workload: Object, name: str) -> str:
    containers = workload["spec"]["template"]["spec"]["containers"]
    return next((str(one["image"]) for one in containers if one["name"] == name), "")


def _tag(image: str) -> str:
    return image.partition("@")[0].removeprefix(image_repository(image)).removeprefix(":")


def _lost(repository: Any, image: str) -> str | None:
    tag, digest = _tag(image), image.partition("@")[2]
    try:
        found = repository.tags.get(tag)
    except GitlabGetError as error:
        if error.response_code != _NOT_FOUND:
            raise
        return f"the registry no longer has {image}, so a node without it cannot start a pod"
    if digest and found.digest != digest:
        return f"{tag} is another image now, and {digest} has no tag that keeps it"
    return None


def _endangered(policy: CleanUpPolicy, repository: Any, tags: list[str]) -> list[str]:
    if not any(map(policy.removes, tags)):
        return []
    pushed = {
        one.name: repository.tags.get(one.name).created_at
        for one in repository.tags.list(iterator=True)
        if policy.removes(one.name)
    }
    # In GitLab's order; a tag without a time counts as just pushed.
    now = dt.datetime.now(dt.UTC)
    newest = sorted(pushed, key=lambda tag: moment(pushed[tag]) if pushed[tag] else now, reverse=True)
    return [tag for tag in tags if tag in newest[policy.keep_n or 0 :]]


def _deploy(systems: Systems) -> str:
    return f"run the app's pipeline of branch {systems.delivery.branch}, which builds the image again and deploys it"


CHECKS = (Check(name="registry", look=images, applies=lambda settings: settings.delivery is not None),)
