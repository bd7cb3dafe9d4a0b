"""docs/network.md, generated from the policies that the program registers (`make generate`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tests.unit.program import Program
from tests.unit.reachability import Endpoint, Outsider, Pod, Policies

GATEWAY: Final = Outsider(name="the Gateway", entity="ingress")
KUBELET: Final = Outsider(name="the pod's own node", entity="host")
OUTSIDERS: Final[Sequence[Endpoint]] = (
    GATEWAY,
    KUBELET,
    Outsider(name="another node", entity="remote-node"),
    Outsider(name="the API server", entity="kube-apiserver"),
    Outsider(name="the internet", entity="world"),
    Outsider(name="api.example.com", entity="world", host="api.example.com"),
    Pod(name="the cluster's DNS", namespace="kube-system", labels={"k8s-app": "kube-dns"}),
    Pod(name="another pod of kube-system", namespace="kube-system"),
    Pod(name="Prometheus", namespace="monitoring", labels={"app.kubernetes.io/name": "prometheus"}),
    Pod(name="another pod of monitoring", namespace="monitoring"),
    Pod(name="cloudflared", namespace="cloudflare", labels={"app": "cloudflared"}),
    Pod(name="another pod of cloudflare", namespace="cloudflare"),
    Pod(name="a pod of another namespace", namespace="default"),
    Pod(name="the app of the other stack", namespace="invoicetron-other", labels={"app": "invoicetron"}),
    Pod(name="the database of the other stack", namespace="invoicetron-other", labels={"app": "invoicetron-db"}),
)

CLOUDFLARED_DENIED: Final = {
    "metadata": {"name": "homelab", "namespace": "cloudflare"},
    "spec": {"endpointSelector": {"matchLabels": {"app": "cloudflared"}}, "egress": [{}]},
}
"""The homelab's own policy for the shared tunnel does not allow egress to the app; otherwise the program's would not be
needed."""

_DATABASE: Final = "invoicetron-db"
_KEEPS: Final = "keeps its data there"
_RESOLVES: Final = "resolves the database's name"
_REASONS: Final = {
    (GATEWAY.name, "invoicetron"): "people inside the network, and the prober, come through the route",
    (KUBELET.name, "invoicetron"): "the kubelet's readiness and liveness probes",
    ("cloudflared", "invoicetron"): "the public hostname, behind Cloudflare Access",
    ("invoicetron", _DATABASE): _KEEPS,
    ("invoicetron", "the cluster's DNS"): _RESOLVES,
    ("invoicetron", "api.example.com"): "app.egress lists it",
    ("invoicetron-migrate", _DATABASE): "changes the schema before a deployment",
    ("invoicetron-migrate", "the cluster's DNS"): _RESOLVES,
    ("invoicetron-db-backup", _DATABASE): "reads everything",
    ("invoicetron-db-backup", "the cluster's DNS"): _RESOLVES,
    ("invoicetron-db-restore", _DATABASE): "puts a dump back",
    ("invoicetron-db-restore", "the cluster's DNS"): _RESOLVES,
}

_HEAD: Final = """\
# Who may reach whom

`make generate` writes this page from the CiliumNetworkPolicies that the program registers. It lists each connection
that the policies of its source and of its destination allow; everything else is denied to the pods of a stack, in both
directions. `tests/unit/test_network.py` says which connections there should be.
"""
_TAIL: Final = """\
## What the policies do not decide

- Cilium admits everything on a pod's own node, on every port, unless its agent has `--allow-localhost=policy`; the
  rules for the kubelet keep the probes of the app and of postgres_exporter working there too. The database's probes run
  inside its container and need no network, and neither do `kubectl exec`, `cp` and `port-forward`.
- The Gateway is Cilium's proxy, whichever node it runs on: its identity is `ingress`, not that of a pod or a node.
- The node pulls the images.
- On CloudNativePG (`database.engine`) the same clients reach the instances on 5432. The instances also reach each
  other on 5432 and 8000, the cluster's DNS and the API server; the operator reaches them on 5432 and 8000, and their
  own node on 8000. With `database.wal` they also reach the host of its bucket, and so does a database that
  `ops restore --to` recovers beside them, which backups reach and which reaches no other database.
- The policies at the other end are not the program's: the cluster's DNS, monitoring, and cloudflared, for which the
  program only adds egress to the app (`enableDefaultDeny: {egress: false}`).
- The app reaches hosts in `app.egress` on 443, and the pods of the off-site copies the host of `backup.s3`, once they
  have resolved them through Cilium's DNS proxy.
"""


def endpoints(program: Program) -> tuple[list[Pod], list[Endpoint]]:
    """The stack's pods, named after the object that creates them, and the same pods together with everybody else."""
    pods = [
        Pod(
            name=each.inputs["metadata"]["name"],
            namespace=each.inputs["metadata"]["namespace"],
            labels=pod["metadata"]["labels"],
        )
        for each, pod in program.pods()
    ]
    return pods, [*pods, *OUTSIDERS]


def edges(program: Program) -> set[tuple[str, str, str]]:
    """Every connection with an end in the stack."""
    policies = Policies([*(each.inputs for each in program.of("CiliumNetworkPolicy")), CLOUDFLARED_DENIED])
    pods, everybody = endpoints(program)
    return set(policies.edges(everybody, pods))


def page(*programs: Program) -> str:
    """The whole page, with a table for each stack."""
    return "\n".join([_HEAD, *(line for program in programs for line in _table(program)), _TAIL])


def _table(program: Program) -> Iterator[str]:
    yield f"## {program.stack}\n\n| from | to | port | why |\n| --- | --- | --- | --- |"
    pods, _ = endpoints(program)
    ports: dict[tuple[str, str], list[str]] = {}
    for source, destination, port in sorted(edges(program)):
        ports.setdefault((source, destination), []).append(port)
    for source, destination in sorted(ports, key=lambda pair: (pair[1], pair[0])):
        why = _REASONS.get((source, destination))
        if why is None:
            raise SystemExit(
                f"{program.stack}: {source} may reach {destination}. If that is meant, give a reason here."
            )
        yield f"| {source} | {destination} | {', '.join(ports[source, destination])} | {why} |"
    yield ""
    alone = [pod.name for pod in pods if not any(pod.name in pair for pair in ports)]
    if alone:
        yield f"{', '.join(alone)}: reaches nothing, and nothing reaches it.\n"
