"""App: the application, its Secret and Service, and the template of the migration Jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.availability import disruption_budget, lost_node_tolerations, stop_pause
from components.database_wires import DatabaseWires
from components.environment import Environment
from components.job_template import JobTemplate
from components.pods import (
    NEVER,
    Footprint,
    SecretData,
    container_resources,
    container_security,
    core,
    meta,
    pod_security,
    secret_variable,
)
from components.pull_credentials import PullCredentials
from sdks import kubernetes
from settings.access import url_of
from settings.app import AppSettings
from settings.names import PROGRAM, Names

DATABASE_URL: Final = "database-url"
AUTH_SECRET: Final = "better-auth-secret"  # noqa: S105 - the key in the Secret
MIGRATION_KEPT_SECONDS: Final = 7 * 24 * 3600
"""How long a finished migration Job is kept, for its log."""
MIGRATIONS_KEPT: Final = 200
"""Number of finished migration Jobs kept until then, for each outcome: a busy week's, one per deployment.

`kubectl create job --from` makes the CronJob the Job's owner, so its history limits (3 and 1 by default) apply to the
Job. A second run after a failed migration fails with Prisma's P3009, and would delete the Job whose log says why.
"""

_FIRST_PORT: Final = 3000
_PATIENCE_SECONDS: Final = 300
"""Seconds without a good answer after which the kubelet restarts the app: longer than a database takes to move."""
_WAITER: Final = "busybox:1.36"
# The app's pipeline waits for rollouts itself. If `up` waited, the first one would wait for an image that does not
# exist yet, and after a wait that failed, the next `up` would restore the placeholder.
_SKIP_AWAIT: Final = {"pulumi.com/skipAwait": "true"}
# Here a conflict is wanted: an `up` that did not see the pipeline's latest image must stop, not overwrite it.
_DEPLOYMENT: Final = {**_SKIP_AWAIT, "pulumi.com/patchForce": "false"}


@dataclass(frozen=True, kw_only=True)
class AppArgs:
    """Settings and wires of the application."""

    settings: AppSettings
    environment: Environment
    hostnames: Sequence[str]
    """Every hostname under which people reach the app; the app refuses logins from other origins."""
    pull_credentials: PullCredentials
    database: DatabaseWires | None
    """None for an app without a database, which has no migrations either."""
    secret: SecretData
    """DATABASE_URL and AUTH_SECRET, if the stack has them, and each variable of `app.secrets` under its name."""


class App(pulumi.ComponentResource):
    """The application, and the template of its migrations."""

    service: pulumi.Output[str]
    """Name of the Service; known once it exists."""
    port: pulumi.Output[int]
    pods: Mapping[str, str]
    """Labels of the app's own pods."""
    image: pulumi.Output[str]
    """The running image, as of the last refresh."""
    migration: JobTemplate | None
    """The migrations' template."""
    migration_pods: Mapping[str, str]
    """Labels of the migrations' pods."""
    follow_rollout: pulumi.Output[str]
    """Command that follows a rollout to its end."""

    @staticmethod
    def footprint(settings: AppSettings, *, migrates: bool) -> Footprint:
        """Two pods, as a rollout runs the old and the new one side by side, and one more for a migration before it."""
        return Footprint.of(settings.resources, pods=3 if migrates else 2)

    def __init__(self, name: str, args: AppArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:app:App", name, None, opts)
        environment, names = args.environment, args.environment.names
        selector = {"app": names.app}
        secrets = []
        if args.secret.values:
            secret = core.Secret(
                "app-secret",
                metadata=environment.metadata(names.app_secret, app=names.app),
                type="Opaque",  # explicit: a Secret made by hand has it, and dropping it would replace the Secret
                string_data={key: pulumi.Output.secret(value) for key, value in args.secret.values.items()},
                opts=ResourceOptions(parent=self),
            )
            secrets.append(secret)
        deployment = kubernetes.apps.v1.Deployment(
            "app",
            metadata=environment.metadata(names.app, annotations=_DEPLOYMENT),
            spec=kubernetes.apps.v1.DeploymentSpecArgs(
                replicas=1,
                strategy=kubernetes.apps.v1.DeploymentStrategyArgs(
                    type="RollingUpdate",
                    rolling_update=kubernetes.apps.v1.RollingUpdateDeploymentArgs(max_surge=1, max_unavailable=0),
                ),
                selector=meta.LabelSelectorArgs(match_labels=selector),
                template=core.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(
                        labels=names.labels(names.app), annotations={"checksum/secrets": args.secret.checksum}
                    ),
                    spec=_app_pod(args),
                ),
            ),
            # This keeps the pipeline's image only together with `refresh: always`, _SKIP_AWAIT and the pipeline's own
            # field manager (docs/decisions/01-image.md). The index matters: the app's container must stay the first.
            opts=ResourceOptions(
                parent=self, depends_on=secrets, ignore_changes=["spec.template.spec.containers[0].image"]
            ),
        )
        port_name = _port_name(args.settings)
        service = core.Service(
            "app-service",
            metadata=environment.metadata(names.app, annotations=_SKIP_AWAIT),
            spec=core.ServiceSpecArgs(
                type="ClusterIP",
                selector=selector,
                ports=[
                    core.ServicePortArgs(name=port_name, port=args.settings.port, target_port=port_name, protocol="TCP")
                ],
            ),
            # The cluster assigns it; an imported Service has it, and dropping it would replace the Service.
            opts=ResourceOptions(parent=self, ignore_changes=["spec.clusterIP"]),
        )
        disruption_budget(
            "app-disruption-budget",
            name=names.app,
            environment=environment,
            pods=selector,
            opts=ResourceOptions(parent=self),
        )
        migration = self._migration(args, secrets) if args.database else None
        self.service = service.metadata.name
        # Not read from the Service: in a preview, its first port is still the previous one.
        self.port = service.metadata.name.apply(lambda _: args.settings.port)
        self.pods = selector
        self.image = deployment.spec.template.spec.containers[0].image
        self.migration = JobTemplate(migration) if migration else None
        self.migration_pods = {"app": names.migration}
        self.follow_rollout = pulumi.Output.format(
            "kubectl -n {0} rollout status deployment/{1}", environment.namespace, deployment.metadata.name
        )
        self.register_outputs(
            {
                "service": self.service,
                "port": self.port,
                "image": self.image,
                "migration": self.migration.name if self.migration else None,
                "follow_rollout": self.follow_rollout,
            }
        )

    def _migration(self, args: AppArgs, secrets: Sequence[core.Secret]) -> kubernetes.batch.v1.CronJob:
        """Never runs by itself: the pipeline creates its Job from it, with the image that it is about to deploy."""
        batch = kubernetes.batch.v1
        names = args.environment.names
        return batch.CronJob(
            "migration",
            metadata=args.environment.metadata(names.migration),
            spec=batch.CronJobSpecArgs(
                schedule=NEVER,
                suspend=True,
                concurrency_policy="Forbid",
                successful_jobs_history_limit=MIGRATIONS_KEPT,
                failed_jobs_history_limit=MIGRATIONS_KEPT,
                job_template=batch.JobTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(labels=names.labels(names.migration)),
                    spec=batch.JobSpecArgs(
                        # Prisma refuses to run after a migration that failed half-way, so the one retry only helps
                        # after a lost connection; the deadline ends a migration that waits for a lock.
                        backoff_limit=1,
                        active_deadline_seconds=600,
                        ttl_seconds_after_finished=MIGRATION_KEPT_SECONDS,
                        template=core.PodTemplateSpecArgs(
                            # Not the app's labels, or the app's Service would send requests here.
                            metadata=meta.ObjectMetaArgs(labels=names.labels(names.migration)),
                            spec=_migration_pod(args),
                        ),
                    ),
                ),
            ),
            opts=ResourceOptions(parent=self, depends_on=secrets),
        )


def _app_pod(args: AppArgs) -> core.PodSpecArgs:
    names = args.environment.names
    return core.PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        image_pull_secrets=[core.LocalObjectReferenceArgs(name=args.pull_credentials.secret_name)],
        priority_class_name=args.environment.priority_class,
        tolerations=lost_node_tolerations(),
        security_context=pod_security(user=args.settings.user, group=args.settings.user),
        init_containers=[_wait_for(args.database, args)] if args.database else None,
        containers=[
            core.ContainerArgs(
                name=names.app,
                image=args.settings.image,
                ports=[core.ContainerPortArgs(name=_port_name(args.settings), container_port=args.settings.port)],
                env=[
                    *([_database_url(names)] if DATABASE_URL in args.secret.values else []),
                    *([_auth_secret(names)] if AUTH_SECRET in args.secret.values else []),
                    core.EnvVarArgs(name="NODE_ENV", value="production"),
                    core.EnvVarArgs(
                        name="ADDITIONAL_TRUSTED_ORIGINS",
                        value=",".join(map(url_of, args.hostnames)),
                    ),
                    *_variables(args),
                ],
                resources=container_resources(args.settings.resources),
                security_context=container_security(read_only=False),
                volume_mounts=(args.database.client_mounts or None) if args.database else None,
                lifecycle=core.LifecycleArgs(pre_stop=stop_pause()),
                # The health check also queries the database. While that is down, the app gets no requests, but is not
                # restarted: a restart would not help, and its back-off would outlast the outage by minutes.
                startup_probe=_probe(args, period=5, patience=_PATIENCE_SECONDS),
                readiness_probe=_probe(args, period=5, patience=15),
                liveness_probe=_probe(args, period=10, patience=_PATIENCE_SECONDS),
            )
        ],
        volumes=(args.database.client_volumes or None) if args.database else None,
    )


def _wait_for(database: DatabaseWires, args: AppArgs) -> core.ContainerArgs:
    address = pulumi.Output.format("{0} {1}", database.host, database.port)
    waiting = "until nc -z -w 2 {0}; do echo 'waiting for {0}'; sleep 2; done"
    return core.ContainerArgs(
        name="wait-for-db",
        image=_WAITER,
        command=["sh", "-c", address.apply(waiting.format)],
        # The same as the app's, which runs after it: Kubernetes takes the larger of the two.
        resources=container_resources(args.settings.resources),
        security_context=container_security(read_only=True),
    )


def _migration_pod(args: AppArgs) -> core.PodSpecArgs:
    return core.PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        restart_policy="Never",
        image_pull_secrets=[core.LocalObjectReferenceArgs(name=args.pull_credentials.secret_name)],
        security_context=pod_security(user=args.settings.user, group=args.settings.user),
        containers=[
            core.ContainerArgs(
                name="migrate",
                image=args.settings.image,
                command=args.settings.migration.command,
                # A migration is the app's own code: with most frameworks it reads the app's whole configuration, and
                # does not start if a part is missing. It does not need the session key.
                env=[_database_url(args.environment.names), *_variables(args)],
                resources=container_resources(args.settings.resources),
                security_context=container_security(read_only=False),
                volume_mounts=(args.database.client_mounts or None) if args.database else None,
            )
        ],
        volumes=(args.database.client_volumes or None) if args.database else None,
    )


def _database_url(names: Names) -> core.EnvVarArgs:
    return secret_variable("DATABASE_URL", secret=names.app_secret, key=DATABASE_URL)


def _auth_secret(names: Names) -> core.EnvVarArgs:
    return secret_variable("BETTER_AUTH_SECRET", secret=names.app_secret, key=AUTH_SECRET)


def _variables(args: AppArgs) -> Iterator[core.EnvVarArgs]:
    """The variables that the stack file adds."""
    for name, value in sorted(args.settings.environment.items()):
        # Kubernetes takes `$(NAME)` for the value of another variable, which may be a secret, and `$$` for one dollar.
        yield core.EnvVarArgs(name=name, value=value.replace("$", "$$"))
    for name in sorted(args.settings.secrets):
        yield secret_variable(name, secret=args.environment.names.app_secret, key=name)


def _port_name(settings: AppSettings) -> str:
    """Ports other than the first release's have their number in their name.

    Server-side apply tells ports apart by number. Until the provider has updated the object it created, a preview sends
    the API server the new port beside the old one, and it refuses two of the same name (kubernetes/kubernetes#131147).
    """
    return "http" if settings.port == _FIRST_PORT else f"http-{settings.port}"


def _probe(args: AppArgs, *, period: int, patience: int) -> core.ProbeArgs:
    return core.ProbeArgs(
        http_get=core.HTTPGetActionArgs(path=args.settings.health_path, port=_port_name(args.settings)),
        period_seconds=period,
        # The default of 1 s is too short for a query while a backup runs.
        timeout_seconds=5,
        failure_threshold=patience // period,
    )
