"""The value types of the stack files, for values that users mistype; each type checks its own rules.

Every type refuses a bad value with words that complete the sentence "allowed: ..."; `settings/errors.py` adds the key
and the given value. The rules are those of the system that would otherwise refuse the value later, half-way through an
update.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import difflib
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainValidator, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from settings.cron import check_cron
from settings.errors import refusal


@dataclass(frozen=True)
class Form:
    """Pydantic annotation: the whole text must match `pattern`. Editors check the same pattern through the JSON schema.

    `allowed` is the rule in words, `example` a valid value, `longest` the maximum number of characters.
    """

    pattern: str
    allowed: str
    example: str
    longest: int | None = None

    def check(self, value: str) -> str:
        if re.fullmatch(self.pattern, value, re.ASCII) and (self.longest is None or len(value) <= self.longest):
            return value
        raise ValueError(f"{self.allowed}, for example {self.example}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = {**handler(core), "pattern": f"^({self.pattern})$", "examples": [self.example]}
        return schema if self.longest is None else {**schema, "maxLength": self.longest}


# RFC 1123 as Kubernetes reads it (apimachinery validation.IsDNS1123Label): lower case, at most 63 characters.
_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
# A host whose last label is a number is an IPv4 address or invalid (WHATWG URL, "ends in a number").
_HOST: Final = rf"(?:(?:{_OCTET}\.){{3}}{_OCTET}|(?:{_LABEL}\.)*(?!\d+(?![-a-z0-9])){_LABEL})"
PORT: Final = r"(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
# The last label starts with a letter; otherwise 10.10.30.4 would pass. Gateway API and Cloudflare accept only names.
_DNS_NAME: Final = rf"(?:{_LABEL}\.)+[a-z](?:[-a-z0-9]{{0,61}}[a-z0-9])?"

DnsLabel = Annotated[
    str, Form(_LABEL, "1 to 63 lower-case letters, digits and inner hyphens, no dots", "homelab-gateway")
]
TableName = Annotated[
    str,
    # PostgreSQL names may contain any character. At most: two names of 63 bytes, and a dot.
    Form(
        r"""(?!public\.|["\s])(?!.*["\s]$)[^\x00-\x1f]+""",
        "a table's name as it is, without quotes; in the schema public without it, elsewhere schema.table",
        "user_sessions",
        longest=127,
    ),
]
ResourceName = Annotated[
    str,
    Form(rf"{_LABEL}(?:\.{_LABEL})*", "lower-case letters, digits, hyphens and dots", "longhorn", longest=253),
]
DnsName = Annotated[
    str,
    Form(
        _DNS_NAME,
        "a full host name in lower case: no scheme, port, path, wildcard or final dot",
        "invoicetron.k8s.rommelporras.com",
        longest=253,
    ),
]
_INSIDE: Final = r"[^/:]*\.(?:svc|cluster\.local)(?:[:/]|$)"
"""Names of Services. A policy by DNS name cannot allow these: Cilium sees the pods behind them."""
InternetName = Annotated[
    str,
    Form(
        rf"(?!{_INSIDE}){_DNS_NAME}",
        "the full name of a host outside the cluster, in lower case: no scheme, port, path, wildcard or final dot",
        "api.example.com",
        longest=253,
    ),
]
Host = Annotated[
    str,
    Form(
        rf"(?!localhost$|127\.|0\.0\.0\.0$){_HOST}",
        "a host name in lower case or an IPv4 address, as the cluster's nodes reach it",
        "10.10.30.4",
        longest=253,
    ),
]
RegistryHost = Annotated[
    str,
    Form(
        rf"{_DNS_NAME}(?::{PORT})?",
        "the registry's full host name in lower case, with its port (1 to 65535) if it has one",
        "registry.k8s.rommelporras.com",
    ),
]
ServiceAddress = Annotated[
    str,
    Form(
        # A Service's name starts with a letter, so an IPv4 address does not match.
        rf"[a-z](?:[-a-z0-9]{{0,61}}[a-z0-9])?\.{_LABEL}(?:\.svc(?:\.{_LABEL})*)?(?::{PORT})?",
        "<service>.<namespace> or <service>.<namespace>.svc.<cluster's domain>, with the port (1 to 65535) if not 80",
        "blackbox-exporter.monitoring.svc.cluster.local:9115",
    ),
]
GitLabProject = Annotated[
    str,
    Form(
        r"(?!.*\.(?:git|atom)(?:/|$))[A-Za-z0-9_][\w.-]*(?:/[A-Za-z0-9_][\w.-]*)+",
        "the path of a GitLab project with its group, without .git at its end",
        "0xwsh/invoicetron",
    ),
]
BranchName = Annotated[
    str,
    Form(
        # What git check-ref-format accepts, in ASCII. HEAD and @ stand for another branch.
        r"(?![-/]|refs/|(?:HEAD|@)$)(?!(?:.*/)?\.)(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)|[/.]$))[\w.@{}/+=-]+",
        "a git branch name without 'refs/heads/'",
        "develop",
    ),
]
EnvironmentName = Annotated[
    str,
    Form(
        r"[A-Za-z0-9_-](?:[A-Za-z0-9/_-]*[A-Za-z0-9_-])?",
        "a GitLab environment: letters, digits, '-', '_' and inner '/'",
        "production",
        longest=255,
    ),
]
GitHubAddress = Annotated[
    str,
    Form(
        r"ssh://git@github\.com/[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?/(?!\.{1,2}\.git$)[\w.-]+\.git",
        "ssh://git@github.com/<owner>/<repository>.git",
        "ssh://git@github.com/rommelporras/invoicetron.git",
    ),
]


def _check_host_key(line: str) -> str:
    _, kind, key = line.split(" ")
    if _strings(key)[:1] != [kind.encode()]:
        raise ValueError(f"a whole key of the type that the line names ({kind}); `ssh-keyscan github.com` prints them")
    return line


def _strings(key: str) -> list[bytes]:
    """The parts of a public key as SSH writes it (RFC 4253, section 6.6); empty if it is cut off or no key."""
    try:
        rest = base64.b64decode(key, validate=True)
    except binascii.Error:
        return []
    found = []
    while rest:
        length = int.from_bytes(rest[:4], "big")
        part, rest = rest[4 : 4 + length], rest[4 + length :]
        if len(part) != length or not part:
            return []
        found.append(part)
    return found


HostKey = Annotated[
    str,
    Form(
        r"(?:\[[\w.-]+\]:\d+|[\w.-]+) (?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]{60,}={0,2}",
        "a line of known_hosts: host, type of the key, the key; `ssh-keyscan github.com` prints them",
        "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    ),
    AfterValidator(_check_host_key),
]
# apimachinery validation.IsQualifiedName and IsValidLabelValue.
LabelKey = Annotated[
    str,
    Form(
        rf"(?:{_LABEL}(?:\.{_LABEL})*/)?[A-Za-z0-9](?:[\w.-]{{0,61}}[A-Za-z0-9])?",
        "the key of a label, optionally after a domain and a slash",
        "app.kubernetes.io/name",
    ),
]
VariableName = Annotated[
    str,
    Form(
        r"[A-Za-z_][A-Za-z0-9_]*",
        "the name of an environment variable: letters, digits and '_', and no digit first",
        "LOG_LEVEL",
    ),
]
LabelValue = Annotated[
    str,
    Form(
        r"(?:[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?)?",
        "the value of a label: at most 63 letters, digits and inner '-', '_' and '.'",
        "cloudflared",
    ),
]
AccessSelector = Annotated[
    # As the API spells them: `azureAD` and `github-organization` are among them.
    str,
    Form(r"[A-Za-z][A-Za-z_-]*", "the name of a selector as Cloudflare's API spells it", "email_domain"),
]
TeamName = Annotated[
    str, Form(_LABEL, "the team's name alone: the part before .cloudflareaccess.com", "homelab", longest=63)
]
CloudflareId = Annotated[
    str, Form(r"[0-9a-f]{32}", "the 32 hexadecimal digits of a Cloudflare id", "0123456789abcdef0123456789abcdef")
]
Uuid = Annotated[
    str,
    Form(
        r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID in lower case", "01234567-89ab-cdef-0123-456789abcdef"
    ),
]
AbsolutePath = Annotated[
    str,
    Form(
        # The server would resolve "..", to another folder than the export that was checked.
        r"/|(?:/(?!\.{1,2}(?:/|$))(?![\s])[^/\x00-\x1f\x7f]*[^/\s\x00-\x1f\x7f])+/?",
        "an absolute path without '..', '.', '//' and spaces at the ends of a name",
        "/exports/invoicetron",
    ),
]


_SEGMENT: Final = r"(?!\.{1,2}(?:/|$))(?:[\w.~+-]|%[0-9A-Fa-f]{2})+"
UrlPath = Annotated[
    str,
    Form(
        rf"/(?:{_SEGMENT}/)*(?:{_SEGMENT})?",
        "a path that begins with '/', without '//', '.', '..', host, query and fragment",
        "/api/health",
        longest=200,
    ),
]


def _check_name(value: str) -> str:
    if value.strip() != value or not value.isprintable():
        raise ValueError("a name as the other system shows it, without spaces at its ends or invisible characters")
    return value


def _check_once(values: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise refusal("each entry only once", given=", ".join(map(repr, twice)))
    return values


EachOnce: Final = AfterValidator(_check_once)
"""Annotation of a list without duplicates: what the program creates for an entry has the entry's name."""

Name = Annotated[str, Field(min_length=1), AfterValidator(_check_name)]
"""A name in another system, which compares it letter by letter."""

_UNITS: Final = {"ns": "1e-9", "us": "1e-6", "ms": "1e-3", "s": "1", "m": "60", "h": "3600"}


def _check_session(value: str) -> str:
    parts = re.findall(r"([\d.]+)([a-z]+)", value)
    seconds = sum(Decimal(number) * Decimal(_UNITS[unit]) for number, unit in parts)
    if not 60 <= seconds <= 730 * 3600:
        raise ValueError("a duration from 1m to 730h (a month, Cloudflare's longest), for example 24h")
    return value


SessionDuration = Annotated[
    str,
    Form(r"(?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+", "a duration with its unit (h, m, s, ms, us or ns)", "24h"),
    AfterValidator(_check_session),
]

HttpsUrl = Annotated[
    str,
    Form(
        rf"https://{_HOST}(?::{PORT})?/?",
        "https://, a host in lower case, optionally a port (1 to 65535), without user, path or query",
        "https://api.k8s.rommelporras.com:6443",
    ),
    AfterValidator(lambda url: url.rstrip("/")),
]

S3Endpoint = Annotated[
    str,
    Form(
        rf"https://(?!{_INSIDE}){_DNS_NAME}(?::{PORT})?/?",
        "https:// and the host name of an endpoint outside the cluster, in lower case, optionally with a port (1 to "
        "65535), without bucket or path",
        "https://s3.eu-central-003.backblazeb2.com",
    ),
    AfterValidator(lambda url: url.rstrip("/")),
]
"""A name, not an address: the Cilium policies allow traffic to the internet by name."""
BucketName = Annotated[
    str,
    Form(
        r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]",
        "the name of a bucket: 3 to 63 lower-case letters, digits and inner hyphens",
        "homelab-backups",
    ),
]
KeyPrefix = Annotated[
    str,
    Form(
        r"[A-Za-z0-9][\w-]*(?:/[A-Za-z0-9][\w-]*)*",
        "folders in the bucket: letters, digits, '-' and '_', with inner '/'",
        "invoicetron/prod",
        longest=200,
    ),
]
RegionName = Annotated[
    str, Form(r"[a-z0-9-]+", "the endpoint's region as its vendor spells it", "eu-central-003", longest=63)
]

PageUrl = Annotated[
    str,
    Form(
        rf"https://{_HOST}(?::{PORT})?/[\w./~+%-]+",
        "https://, a host in lower case and the path of a page, without user, query or fragment",
        "https://gitlab.k8s.rommelporras.com/group/project/-/blob/main/docs/backup-and-restore.md",
    ),
]


def _check_date(value: object) -> dt.date:
    # Pulumi reads an unquoted date as a time and passes it on as Go prints a time.
    day = value.removesuffix(" 00:00:00 +0000 UTC") if isinstance(value, str) else ""
    try:
        return dt.datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise ValueError("a date like 2027-12-31") from None


Date = Annotated[
    dt.date,
    PlainValidator(_check_date),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2027-12-31"]}),
]


@cache
def _time_zones() -> frozenset[str]:
    """The names in the IANA database. Not the local system's, which may have more, such as localtime and posix/UTC."""
    names = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    return frozenset(names) - {"Factory"}


def _check_time_zone(value: str) -> str:
    if value not in _time_zones():
        near = difflib.get_close_matches(value, _time_zones(), n=1)
        raise refusal(
            "a zone of the IANA database, for example Etc/UTC or Asia/Manila; Kubernetes' scheduler knows no other",
            fix=f"did you mean {near[0]}?" if near else None,
        )
    return value


TimeZone = Annotated[str, AfterValidator(_check_time_zone), WithJsonSchema({"type": "string", "examples": ["Etc/UTC"]})]
CronSchedule = Annotated[str, AfterValidator(check_cron), WithJsonSchema({"type": "string", "examples": ["0 3 * * *"]})]
