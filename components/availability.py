"""Availability: keeps a pod's absence short when a node fails or is drained, or when the pod's program changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pulumi

from components.environment import Environment
from components.pods import core, meta
from sdks import kubernetes

EVICTION_SECONDS: Final = 60
"""Seconds after which a pod is evicted from a node that does not answer. Kubernetes' default is 300."""
STOP_PAUSE_SECONDS: Final = 10
"""Seconds for which a terminating pod's container keeps serving while the Gateway drops its address."""

LOST_NODE: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""Taints of a node that no longer reports."""


def lost_node_tolerations() -> list[core.TolerationArgs]:
    """Tolerations, for `EVICTION_SECONDS`, of the taints of a node that no longer reports."""
    return [
        core.TolerationArgs(key=taint, operator="Exists", effect="NoExecute", toleration_seconds=EVICTION_SECONDS)
        for taint in LOST_NODE
    ]


def stop_pause() -> core.LifecycleHandlerArgs:
    """The preStop hook. Without it, requests during a rollout still go to a container that has ended, and get a 502.

    The kubelet sleeps, so the image needs no shell. Needs Kubernetes 1.30 or newer.
    """
    return core.LifecycleHandlerArgs(sleep=core.SleepActionArgs(seconds=STOP_PAUSE_SECONDS))


def disruption_budget(
    resource: str, *, name: str, environment: Environment, pods: Mapping[str, str], opts: pulumi.ResourceOptions
) -> kubernetes.policy.v1.PodDisruptionBudget:
    """The PodDisruptionBudget of the pods labelled `pods`: a drain can always evict one, and only one at a time.

    With `minAvailable: 1`, draining the node of a single replica would never end.
    """
    return kubernetes.policy.v1.PodDisruptionBudget(
        resource,
        metadata=environment.metadata(name),
        spec=kubernetes.policy.v1.PodDisruptionBudgetSpecArgs(
            max_unavailable=1,
            selector=meta.LabelSelectorArgs(match_labels=pods),
            # A pod that is not ready serves no requests, but by default it blocks the drain.
            unhealthy_pod_eviction_policy="AlwaysAllow",
        ),
        opts=opts,
    )


def same_node(apps: list[str]) -> core.AffinityArgs:
    """Affinity of pods that share a ReadWriteOnce volume: on another node, one would wait for it past its deadline.

    `apps` are the values of the label `app`. The first pod can go to any node, because a pod's term may match itself.
    """
    return core.AffinityArgs(
        pod_affinity=core.PodAffinityArgs(
            required_during_scheduling_ignored_during_execution=[
                core.PodAffinityTermArgs(
                    topology_key="kubernetes.io/hostname",
                    label_selector=meta.LabelSelectorArgs(
                        match_expressions=[
                            meta.LabelSelectorRequirementArgs(key="app", operator="In", values=sorted(apps))
                        ]
                    ),
                )
            ]
        )
    )
