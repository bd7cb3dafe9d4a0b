"""Availability: what keeps a pod's absence short while a node fails, is drained, or the pod's program changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pulumi

from components.environment import Environment
from components.pods import core, meta
from sdks import kubernetes

EVICTION_SECONDS: Final = 60
"""Seconds after which a pod leaves a node that does not answer. Kubernetes' own default is 300."""
STOP_PAUSE_SECONDS: Final = 10
"""Seconds for which a container of a terminating pod keeps serving; the Gateway drops its address meanwhile."""

LOST_NODE: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""Taints that a node gets once it no longer reports."""


def lost_node_tolerations() -> list[core.TolerationArgs]:
    """Tolerations of the taints that a node gets once it no longer reports, for `EVICTION_SECONDS`."""
    return [
        core.TolerationArgs(key=taint, operator="Exists", effect="NoExecute", toleration_seconds=EVICTION_SECONDS)
        for taint in LOST_NODE
    ]


def stop_pause() -> core.LifecycleHandlerArgs:
    """The preStop hook without which requests of a rollout still go to a container that has ended, and get a 502.

    By the kubelet, so that the image needs no shell. Kubernetes 1.30 or newer.
    """
    return core.LifecycleHandlerArgs(sleep=core.SleepActionArgs(seconds=STOP_PAUSE_SECONDS))


def disruption_budget(
    resource: str, *, name: str, environment: Environment, pods: Mapping[str, str], opts: pulumi.ResourceOptions
) -> kubernetes.policy.v1.PodDisruptionBudget:
    """The PodDisruptionBudget of the pods labelled `pods`: a drain evicts one at a time, and that one always.

    With `minAvailable: 1` the drain of the node of a single replica would never end.
    """
    return kubernetes.policy.v1.PodDisruptionBudget(
        resource,
        metadata=environment.metadata(name),
        spec=kubernetes.policy.v1.PodDisruptionBudgetSpecArgs(
            max_unavailable=1,
            selector=meta.LabelSelectorArgs(match_labels=pods),
            # A pod that is not ready protects nobody's requests; by default it blocks the drain.
            unhealthy_pod_eviction_policy="AlwaysAllow",
        ),
        opts=opts,
    )


def same_node(apps: list[str]) -> core.AffinityArgs:
    """Affinity of pods that share a ReadWriteOnce volume: on another node one waits for the volume, past its deadline.

    `apps` are the values of the label `app`. The first of them is scheduled anywhere, as a pod's term may match itself.
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
