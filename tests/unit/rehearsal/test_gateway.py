"""The Gateway controller's stand-in takes the routes that the real one would take, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.cluster.gateway import accepted

REFERENCE = {"name": "homelab-gateway", "namespace": "default", "sectionName": "https-dev"}


def listener(name: str, hostname: str, *, namespaces: str = "All") -> dict[str, Any]:
    return {"name": name, "hostname": hostname, "allowedRoutes": {"namespaces": {"from": namespaces}}}


def gateway(*listeners: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "homelab-gateway", "namespace": "default"}, "spec": {"listeners": list(listeners)}}


def route(*hostnames: str) -> dict[str, Any]:
    return {"metadata": {"name": "app", "namespace": "elsewhere"}, "spec": {"hostnames": list(hostnames)}}


@pytest.mark.parametrize("hostname", ["app.dev.example.com", "deep.app.dev.example.com"])
def test_a_route_is_accepted_by_a_listener_of_its_hostname_that_is_open_to_all_namespaces(hostname: str) -> None:
    assert accepted(route(hostname), REFERENCE, gateway(listener("https-dev", "*.dev.example.com")))[0] == "True"


@pytest.mark.parametrize(
    ("hostname", "among", "reason"),
    [
        ("app.dev.example.com", None, "NoMatchingParent"),
        ("app.dev.example.com", gateway(listener("https", "*.dev.example.com")), "NoMatchingParent"),
        ("dev.example.com", gateway(listener("https-dev", "*.dev.example.com")), "NoMatchingListenerHostname"),
        ("appdev.example.com", gateway(listener("https-dev", "*.dev.example.com")), "NoMatchingListenerHostname"),
        (
            "app.dev.example.com",
            gateway(listener("https-dev", "*.dev.example.com", namespaces="Same")),
            "NotAllowedByListeners",
        ),
    ],
    ids=["no such gateway", "no such listener", "the bare domain", "another domain", "a closed listener"],
)
def test_a_route_is_refused_with_the_reason(hostname: str, among: dict[str, Any] | None, reason: str) -> None:
    assert accepted(route(hostname), REFERENCE, among)[:2] == ("False", reason)


def test_one_listener_must_both_serve_the_hostname_and_be_open_to_the_namespace() -> None:
    anywhere = {"name": "homelab-gateway", "namespace": "default"}
    closed, open_ = listener("one", "*.example.com", namespaces="Same"), listener("two", "*.example.org")
    assert accepted(route("app.example.com"), anywhere, gateway(closed, open_))[1] == "NotAllowedByListeners"
