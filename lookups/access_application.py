"""The hostnames of an existing Access application, which may be more than the one that it is looked up by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lookups.cloudflare_recorded import wrong_id


def guarded_hostnames(application: Mapping[str, Any]) -> set[str]:
    """The hostnames that an application in Cloudflare's answer is for; `domain` is only the first of them."""
    places = [
        application.get("domain"),
        *(application.get("self_hosted_domains") or []),
        *(one.get("uri") for one in application.get("destinations") or []),
    ]
    return {place.partition("/")[0].lower() for place in places if place}


def shared_with(hostname: str, application: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is wrong about adopting an application that also guards other hostnames, and the fix; None otherwise.

    They would stay in it (`modifyPlanForDomains` in Cloudflare's provider), with the stack's policy instead of theirs.
    """
    others = ", ".join(sorted(guarded_hostnames(application) - {hostname}))
    if not others:
        return None
    why = (
        f"{application['id']} also guards {others}, which would get this stack's policy, and be open to everybody once "
        "the stack is deleted"
    )
    fix = (
        f"In Zero Trust > Access > Applications, create another application for {others} with its policies, and then "
        "remove these from this one"
    )
    return why, fix


def adoption_problem(
    hostname: str, setting: str, adopted: str | None, found: Sequence[Mapping[str, Any]]
) -> str | None:
    """Why the application with the id `adopted`, which `setting` gives, cannot be adopted; None otherwise.

    `found` are those of the hostname.
    """
    if wrong := wrong_id(setting, adopted, [str(one["id"]) for one in found]):
        return wrong
    shared = next((shared_with(hostname, one) for one in found if one["id"] == adopted), None)
    return ". ".join(shared) if shared else None
