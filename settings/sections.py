"""One closed, frozen model for each `invoicetron:<section>` of a stack file.

The defaults are those of the homelab's hand-made deployment; a stack file says only what differs from them.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from settings.cron import skipped_run
from settings.errors import refusal
from settings.images import ImageReference, PostgresImage
from settings.quantities import Cpu, Memory, Storage
from settings.types import (
    LONGEST_PAUSES,
    AbsolutePath,
    AccessSelector,
    BranchName,
    CloudflareId,
    DailySchedule,
    Date,
    DnsLabel,
    DnsName,
    EnvironmentName,
    GitHubAddress,
    GitLabProject,
    Host,
    HostKey,
    HttpsUrl,
    ItemReference,
    LabelKey,
    LabelValue,
    Name,
    PageUrl,
    RegistryHost,
    ResourceName,
    SecretReference,
    ServiceAddress,
    SessionDuration,
    TableName,
    TeamName,
    TimeZone,
    Uuid,
    WeeklySchedule,
)

RUNNING: Final = "running"
"""Key of the validation context: the stack is up and only looked at, so a day that is over is no mistake."""


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


class Section(BaseModel):
    """Base of every section: camelCase in the stack file, snake_case in Python, no unknown keys, frozen."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,  # "yes" is no boolean and "7" no number, so that a typing error is not read as something else
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )


class Amounts(Section):
    """CPU (in cores) and memory (in bytes) of one container."""

    cpu: Cpu
    memory: Memory


class Resources(Section):
    """What one container is given for certain (`requests`) and at most (`limits`)."""

    requests: Amounts
    limits: Amounts

    @field_validator("limits")
    @classmethod
    def _requests_fit(cls, limits: Amounts, info: ValidationInfo) -> Amounts:
        requests: Amounts | None = info.data.get("requests")
        for name in ("cpu", "memory"):
            least, most = getattr(requests, name, None), getattr(limits, name)
            if least is not None and least.amount > most.amount:
                raise refusal(f"{least} (requests.{name}) or more", key=name, given=repr(str(most)))
        return limits


def _resources(*, cpu: tuple[str, str], memory: tuple[str, str]) -> Resources:
    """Resources from (request, limit) pairs."""
    return Resources(
        requests=Amounts(cpu=Cpu(cpu[0]), memory=Memory(memory[0])),
        limits=Amounts(cpu=Cpu(cpu[1]), memory=Memory(memory[1])),
    )


class Cluster(Section):
    """The Kubernetes cluster. The kubeconfig itself comes from KUBECONFIG, never from a stack file."""

    context: Name = "homelab"
    """Context of the kubeconfig; the current context is never used."""
    identifier: DnsLabel = "homelab"
    """Name under which Pulumi knows the cluster. A change plans to replace every resource, the namespace included."""
    api_url: HttpsUrl = "https://api.k8s.rommelporras.com:6443"
    """Address of the API server as the app's pipeline reaches it (KUBE_API_URL)."""


class Secrets(Section):
    """Where the stack's secrets are in 1Password."""

    postgres_password: SecretReference
    """Password of the database's role: an op:// reference; the value is URL-safe."""
    better_auth_secret: SecretReference
    """Key of the app's sessions: an op:// reference; the value has at least 32 characters."""
    database_url: SecretReference | None = None
    """Checked against the other values where it is given, derived from them where it is not."""


class Registry(Section):
    """The container registry of the app's image, and the 1Password item with the credentials that pull it."""

    server: RegistryHost
    """Host of the registry, the one that app.image names."""
    item: ItemReference
    """Item whose username and password pull the image; `delivery.pullCredentials.issue` says who writes it."""

    @property
    def username(self) -> SecretReference:
        """Reference to the user name that pulls the image."""
        return self.item.field("username")

    @property
    def password(self) -> SecretReference:
        """Reference to the password that pulls the image."""
        return self.item.field("password")


class Database(Section):
    """PostgreSQL and its volume."""

    image: PostgresImage = "postgres:18-alpine"
    storage_class: ResourceName = "longhorn"
    size: Storage = Storage("10Gi")
    """Of the volume. Kubernetes lets it grow, never shrink."""
    lost_claim: Uuid | Literal["unknown"] | None = None
    """UID of a claim that is gone and given up: an empty database may take its place. `up` says which, and when."""
    resources: Resources = _resources(cpu=("100m", "500m"), memory=("256Mi", "1Gi"))


class App(Section):
    """The application's container."""

    image: ImageReference
    """Placeholder for the first `up`; from then on the app's pipeline owns the image."""
    resources: Resources = _resources(cpu=("250m", "2000m"), memory=("512Mi", "2Gi"))
    egress: Annotated[tuple[DnsName, ...], Field(strict=False)] = ()
    """Hosts on the internet that the app may call over HTTPS; the network policy denies every other."""


class Gateway(Section):
    """The Gateway listener that the internal route attaches to."""

    name: ResourceName = "homelab-gateway"
    namespace: DnsLabel = "default"
    listener: ResourceName
    """Name of the listener (`sectionName`) that serves the hostname."""


class Cloudflared(Section):
    """The pods of the shared tunnel's connector, for the policy that lets them reach the app."""

    namespace: DnsLabel = "cloudflare"
    pod_labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)] = Field(default={"app": "cloudflared"})


class Adopt(Section):
    """Ids of what already exists by hand and is taken over instead of created."""

    application: Uuid | None = None
    """Id of the Access application."""
    dns_record: CloudflareId | None = None
    """Id of the DNS record."""
    tunnel_rule: bool = False
    """Take over a rule for the hostname that the tunnel already has."""


class PublicAccess(Section):
    """The public side: Access application, rule of the shared tunnel, DNS record."""

    zone: DnsName
    """Name of the Cloudflare zone that holds the hostname."""
    hostname: DnsName
    """Public hostname, directly below the zone unless `advancedCertificate` is true."""
    zone_id: CloudflareId | None = None
    """Looked up by name where it is absent, which needs the Zone Read permission."""
    account_id: CloudflareId | None = None
    """The zone's account where it is absent."""
    tunnel: Name
    """Name of the shared tunnel."""
    tunnel_id: Uuid | None = None
    """Looked up by name where it is absent."""
    policy_name: Name
    """Name that the reusable Access policy must bear."""
    policy_id: Uuid | None = None
    """Looked up by name among the account's reusable policies where it is absent."""
    allow_selectors: Annotated[tuple[AccessSelector, ...], Field(strict=False)] = ()
    """Selectors the policy may use beside those that name people: `email_domain` lets in a whole domain."""
    team_name: TeamName | None = None
    """The Zero Trust team, as in <team>.cloudflareaccess.com; looked up in the account where it is absent."""
    session_duration: SessionDuration = "24h"
    """How long a login lasts; a duration of the policy's own beats it."""
    one_time_pin: bool = False
    """Allow the one-time PIN only, instead of every identity provider of the account."""
    advanced_certificate: bool = False
    """Whether the zone has a certificate of Advanced Certificate Manager that covers a hostname further down."""
    cloudflared: Cloudflared = Cloudflared()
    adopt: Adopt = Adopt()

    @field_validator("hostname")
    @classmethod
    def _is_in_zone(cls, hostname: str, info: ValidationInfo) -> str:
        zone = info.data.get("zone")
        if zone is not None and not hostname.endswith(f".{zone}"):
            raise refusal(f"a hostname inside the zone {zone}")
        return hostname


class Access(Section):
    """How people reach the app: inside the network always, from the internet where `public` is given."""

    hostname: DnsName
    """Internal hostname."""
    gateway: Gateway
    """The listener that serves it."""
    public: PublicAccess | None = None

    @property
    def url(self) -> str:
        """Where the app is inside the network."""
        return f"https://{self.hostname}"

    @property
    def people_url(self) -> str:
        """Where people reach the app."""
        return f"https://{self.public.hostname}" if self.public else self.url

    @field_validator("public")
    @classmethod
    def _is_another_hostname(cls, public: PublicAccess | None, info: ValidationInfo) -> PublicAccess | None:
        if public is not None and public.hostname == info.data.get("hostname"):
            raise refusal(
                "another hostname than access.hostname, which the gateway serves without Cloudflare Access",
                key="hostname",
                given=repr(public.hostname),
            )
        return public

    @field_validator("public")
    @classmethod
    def _has_a_certificate(cls, public: PublicAccess | None) -> PublicAccess | None:
        # https://developers.cloudflare.com/ssl/edge-certificates/universal-ssl/limitations/#hostname-coverage
        if public is None or public.advanced_certificate or "." not in public.hostname.removesuffix(f".{public.zone}"):
            return public
        raise refusal(
            f"a hostname directly below {public.zone}: Cloudflare's universal certificate covers none further down, "
            "so that browsers refuse it (ERR_SSL_VERSION_OR_CIPHER_MISMATCH)",
            key="hostname",
            given=repr(public.hostname),
            fix=f"name one like {public.hostname.partition('.')[0]}.{public.zone}; or order a certificate for it "
            "(Advanced Certificate Manager), and set access.public.advancedCertificate to true",
        )


class NfsExport(Section):
    """An NFS export, so that the backups survive the cluster."""

    server: Host
    """The NFS server."""
    path: AbsolutePath
    """The exported folder."""


class Retention(Section):
    """How many backups are kept beside all of the last two days: one of each of the last days, weeks and months."""

    daily: Annotated[int, Field(ge=1, le=366, strict=True)] = 7
    weekly: Annotated[int, Field(ge=0, le=520, strict=True)] = 0
    monthly: Annotated[int, Field(ge=0, le=120, strict=True)] = 0


class Backup(Section):
    """Dumps of the database and the drill that restores the newest of them."""

    time_zone: TimeZone = "Etc/UTC"
    """Zone in which both schedules are read."""
    schedule: Annotated[DailySchedule, Field(validate_default=True)] = "0 3 * * *"
    """When a backup is taken: every day, or more often."""
    drill_schedule: Annotated[WeeklySchedule, Field(validate_default=True)] = "0 4 * * 0"
    """When the newest backup is tried out: every week, or more often."""
    storage_class: ResourceName = "longhorn"
    size: Storage = Storage("2Gi")
    nfs: NfsExport | None = None
    """Instead of a volume of the storage class."""
    retention: Retention = Retention()
    session_tables: Annotated[tuple[TableName, ...], Field(strict=False)] = ()
    """Tables that `ops restore --clear-sessions` empties, where the app's sessions are in others than session(s)."""
    resources: Resources = _resources(cpu=("50m", "500m"), memory=("64Mi", "256Mi"))
    drill_resources: Resources = _resources(cpu=("100m", "500m"), memory=("256Mi", "1Gi"))

    @field_validator("schedule", "drill_schedule")
    @classmethod
    def _is_not_skipped(cls, schedule: str, info: ValidationInfo) -> str:
        zone = info.data.get("time_zone")
        longest = LONGEST_PAUSES["daily" if info.field_name == "schedule" else "weekly"]
        missed = skipped_run(schedule, zone, longest=longest, since=_today()) if zone else None
        if missed:
            raise refusal(
                f"a time that {zone} never skips: on {missed:%Y-%m-%d} clocks there go forward and none shows "
                f"{missed:%H:%M}, and Kubernetes leaves that run out",
                fix="take a later hour, for example 0 5, or timeZone: Etc/UTC",
            )
        return schedule


class Monitoring(Section):
    """Probe and alerts of the Prometheus operator."""

    prober: ServiceAddress = "blackbox-exporter.monitoring.svc.cluster.local:9115"
    """host:port of the blackbox exporter's Service."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)] = Field(default={"release": "prometheus"})
    """Labels by which Prometheus selects probes and rules."""
    runbook: PageUrl | None = None
    """Where docs/alerts.md of this program is read; alerts link to its sections. Without it they name the file."""

    @property
    def prober_namespace(self) -> str:
        """Namespace of the blackbox exporter."""
        return self.prober.partition(":")[0].split(".")[1]


LEAST_DAYS: Final = 14
"""Days that a token must have left: time enough for a weekly look to see it twice."""


class PullCredentials(Section):
    """Who writes the registry item: a person (`issue: false`) or this program, with a deploy token of its own."""

    issue: bool = False
    expires: Annotated[Date | None, Field(validate_default=True)] = None
    """Last day of the deploy token; a change issues a new one."""

    @field_validator("expires")
    @classmethod
    def _goes_with_issue(cls, expires: Date | None, info: ValidationInfo) -> Date | None:
        issue = info.data.get("issue")
        if issue and expires is None:
            raise refusal("a date like 2027-12-31, because issue is true and no token lives for ever")
        if issue is False and expires is not None:
            raise refusal("no date while issue is false, because the token is then a person's")
        running = info.context and info.context.get(RUNNING)
        if expires is not None and expires <= _today() and not running:
            raise refusal(
                "a day after today: the token would end before the next pod pulls with it",
                given=repr(expires.isoformat()),
                fix="write a later date; a change issues a new token and revokes the old one once nothing uses it",
            )
        return expires

    def warning(self) -> str | None:
        """What is to be said of a date that is near, or nothing."""
        if self.expires is None or (days := (self.expires - _today()).days) >= LEAST_DAYS:
            return None
        return f"the deploy token ends in {days} days ({self.expires}); write a later date, and `up` issues a new one"


class Environment(Section):
    """The GitLab environment of the stack."""

    name: EnvironmentName
    tier: Literal["production", "staging", "testing", "development", "other"]


class Delivery(Section):
    """What the app's GitLab project is given to deploy into this stack."""

    gitlab: HttpsUrl = "https://gitlab.k8s.rommelporras.com"
    """The GitLab server; GITLAB_BASE_URL, where it is set, beats it."""
    project: GitLabProject
    """The app's project."""
    environment: Environment
    """Its environment that this stack is."""
    branch: BranchName
    """Branch whose pipeline deploys into this stack."""
    pull_credentials: PullCredentials = PullCredentials()


class Repository(Section):
    """What both stacks share in the project that `delivery` names: mirror, branches, protection. One stack owns it."""

    mirror: GitHubAddress
    """SSH address of the GitHub repository that is pushed to."""
    develop_branch: BranchName = "develop"
    """Made from the project's default branch where it does not exist."""
    protected_environments: Annotated[tuple[EnvironmentName, ...], Field(strict=False)] = ()
    """Environments into which only Maintainers may deploy. GitLab Premium has this; other editions refuse it."""
    host_keys: Annotated[tuple[HostKey, ...], Field(min_length=1, strict=False)] = (
        "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    )
    """Host keys the mirror trusts, as known_hosts lines."""
