"""`database.parameters`: parameters of the PostgreSQL server, under PostgreSQL's own names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from settings.errors import refusal
from settings.section import Section

# postgresql.org/docs/18/config-setting.html: units are case-sensitive, and a multiplier is 1024.
_BYTES: Final = ("kB", "MB", "GB")
_TIMES: Final = ("ms", "s", "min", "h", "d")
_SIZES: Final = dict(
    zip((*_BYTES, *_TIMES), (2**10, 2**20, 2**30, 1, 1000, 60_000, 3_600_000, 86_400_000), strict=True)
)
"""In bytes and in milliseconds."""

# Each parameter was judged one by one: any that is not a field below may stop the server, break the backups or endanger
# the data. For those that people are likely to try, the message gives the reason.
_NOT_HERE: Final = {
    "a crash or a lost node could lose or damage invoices": (
        r"fsync|full_page_writes|synchronous_commit|data_sync_retry|zero_damaged_pages|ignore_.*|restart_after_crash"
    ),
    "probes, clients and backups find the server and its files where the program puts them": (
        r"listen_addresses|port|unix_socket_.*|data_directory|(config|hba|ident|external_pid)_file|include.*"
    ),
    "the engine decides about standbys and an archive of its log, and `backup` brings data back": (
        r"archive_.*|restore_command|recovery_.*|primary_.*|wal_level|max_wal_senders|hot_standby.*|synchronous_.*"
    ),
    "migrations, backups and restores would not do what they say": (
        r"default_transaction_.*|default_table.*|session_replication_role|row_security|event_triggers|role|search_path"
    ),
    "the log is the container's output; files would fill the volume": (
        r"logging_collector|log_directory|log_filename|log_file_.*|log_destination|log_rotation_.*"
    ),
    "statements hold people's data and hashes of passwords": (
        r"log_statement|log_parameter_.*|log_min_error_statement|debug_.*"
    ),
    "the program decides how clients log in": r"password_encryption|ssl.*|krb_.*|gss_.*|authentication_timeout",
    "the server does not start where the image or the container lacks what it needs": (
        r".*_preload_libraries|dynamic_library_path|jit_provider|.*shared_memory_type|huge_page.*|io_method"
    ),
    "tables would fill up with dead rows": "autovacuum",
}


@dataclass(frozen=True)
class Measure:
    """Pydantic annotation: a whole number with one of `units`, from `least` to `most`; or `off`, a bare number."""

    units: tuple[str, ...]
    least: str
    most: str
    off: int | None = None

    @property
    def allowed(self) -> str:
        """The rule in words."""
        switched_off = "" if self.off is None else f", or {self.off} for none"
        return f"a whole number with its unit ({', '.join(self.units)}), from {self.least} to {self.most}{switched_off}"

    def check(self, value: object) -> str:
        if self.off is not None and str(value) == str(self.off):
            return str(self.off)
        text = value if isinstance(value, str) else ""
        if re.fullmatch(self._pattern, text, re.ASCII) and self._fits(text):
            return text
        # Mistakes to recognise: Kubernetes' spelling, wrong case, a space.
        found = re.fullmatch(r"\s*([1-9]\d*)\s*([a-z]+?)i?b?\s*", text, re.ASCII | re.IGNORECASE)
        near = [unit for unit in self.units if found and unit.lower().removesuffix("b") == found[2].lower()]
        meant = f"{found[1]}{near[0]}" if found and near else ""
        raise refusal(self.allowed, fix=f"did you mean {meant}?" if meant and self._fits(meant) else None)

    @property
    def _pattern(self) -> str:
        return rf"([1-9]\d*)({'|'.join(self.units)})"

    def _fits(self, text: str) -> bool:
        return amount(self.least) <= amount(text) <= amount(self.most)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.check, serialization=core_schema.to_string_ser_schema()
        )

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        written: dict[str, Any] = {"type": "string", "pattern": f"^{self._pattern}$"}
        return written if self.off is None else {"anyOf": [written, {"const": self.off}, {"const": str(self.off)}]}


def amount(text: str) -> int:
    """The bytes or milliseconds of a text that `Measure` accepts."""
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]+)", text).groups()  # type: ignore[union-attr]
    return int(number) * _SIZES[unit]


DEFAULT_MAX_WAL_SIZE: Final = "1GB"
"""PostgreSQL's default. https://www.postgresql.org/docs/18/runtime-config-wal.html#GUC-MAX-WAL-SIZE"""

DEFAULT_MIN_WAL_SIZE: Final = "80MB"
"""PostgreSQL's default. https://www.postgresql.org/docs/18/runtime-config-wal.html#GUC-MIN-WAL-SIZE"""

_LOCK: Final = 270
"""Bytes of shared memory. https://www.postgresql.org/docs/9.2/kernel-resources.html, table 17-2: the last to say so."""


def default_max_wal_size(size: Decimal) -> str:
    """PostgreSQL's default, or half of a volume of `size` bytes that is too small for it."""
    return DEFAULT_MAX_WAL_SIZE if amount(DEFAULT_MAX_WAL_SIZE) * 2 <= size else f"{int(size) // 2**21}MB"


_Memory = Annotated[str, Measure(_BYTES, "64kB", "1024GB")]
_Timeout = Annotated[str, Measure(_TIMES, "100ms", "24d", off=0)]
_LoggedFrom = Annotated[str, Measure(_TIMES, "1ms", "24d", off=-1)]
_Ratio = Annotated[float, Field(ge=0, le=100)]


class ServerParameters(Section):
    """Parameters of the server. One that is not set has the default below or, without one, PostgreSQL's.

    They go on the server's command line, so a change restarts it. They override `ALTER SYSTEM`; `ALTER ROLE` and
    `ALTER DATABASE` override them.
    """

    # PostgreSQL's names, not camelCase.
    model_config = ConfigDict(alias_generator=None)

    shared_buffers: Annotated[str, Measure(_BYTES, "128kB", "1024GB")] | None = None
    """Default: a quarter of the memory limit."""
    work_mem: _Memory | None = None
    """Memory of one sort or hash table. Default: two fifths of the memory limit, divided by max_connections."""
    maintenance_work_mem: _Memory | None = None
    """Memory of one VACUUM or CREATE INDEX.

    Default: three sixteenths of the memory limit, divided by autovacuum_max_workers.
    """
    effective_cache_size: _Memory | None = None
    """How much the planner assumes to be cached. Default: three quarters of the memory limit."""
    max_connections: Annotated[int, Field(ge=20, le=1000, strict=True)] = 100
    """Backups and a restore need ten, in addition to the app's."""
    max_locks_per_transaction: Annotated[int, Field(ge=64, le=4096, strict=True)] | None = None
    """Average over `max_connections` transactions; PostgreSQL's default is 64. A restore creates everything in one
    transaction, with about five locks for each table."""
    lock_timeout: _Timeout = "1min"
    """For the app and its migrations: everybody else queues behind a session that waits for a lock."""
    idle_in_transaction_session_timeout: _Timeout = "5min"
    """Ends a session that does nothing but keeps a transaction, and so its locks, open."""
    statement_timeout: _Timeout | None = None
    transaction_timeout: _Timeout | None = None
    idle_session_timeout: _Timeout | None = None
    log_min_duration_statement: _LoggedFrom = "1s"
    """Statements that take longer are logged, without their parameters."""
    log_autovacuum_min_duration: _LoggedFrom | None = None
    log_lock_waits: bool | None = None
    track_io_timing: bool | None = None
    max_wal_size: Annotated[str, Measure(_BYTES, "64MB", "1024GB")] | None = None
    """At most half of `database.size`."""
    min_wal_size: Annotated[str, Measure(_BYTES, "32MB", "1024GB")] | None = None
    """At most max_wal_size; below it on CloudNativePG."""
    checkpoint_timeout: Annotated[str, Measure(_TIMES, "30s", "1d")] | None = None
    temp_file_limit: Annotated[str, Measure(_BYTES, "1MB", "1024GB", off=-1)] | None = None
    random_page_cost: Annotated[float, Field(gt=0, le=100)] | None = None
    effective_io_concurrency: Annotated[int, Field(ge=0, le=1000, strict=True)] | None = None
    default_statistics_target: Annotated[int, Field(ge=1, le=10_000, strict=True)] | None = None
    jit: bool | None = None
    max_parallel_workers: Annotated[int, Field(ge=0, le=64, strict=True)] | None = None
    max_parallel_workers_per_gather: Annotated[int, Field(ge=0, le=64, strict=True)] | None = None
    autovacuum_max_workers: Annotated[int, Field(ge=1, le=16, strict=True)] = 3
    autovacuum_naptime: Annotated[str, Measure(_TIMES, "1s", "1d")] | None = None
    autovacuum_vacuum_scale_factor: _Ratio | None = None
    autovacuum_analyze_scale_factor: _Ratio | None = None

    @classmethod
    def why_not(cls, key: str) -> str | None:
        """Why the parameter `key` cannot be set here; None for those that people are not likely to try."""
        found = (reason for reason, names in _NOT_HERE.items() if re.fullmatch(names, key.lower()))
        return next(found, None)

    def given(self, memory: Decimal) -> dict[str, str]:
        """Every parameter that the server is started with, by name, in a container with `memory` bytes."""
        shares = {
            "shared_buffers": memory / 4,
            "work_mem": memory * 2 / 5 / self.max_connections,
            "maintenance_work_mem": memory * 3 / 16 / self.autovacuum_max_workers,
            "effective_cache_size": memory * 3 / 4,
        }
        derived = {name: f"{max(int(share) // 1024, 64)}kB" for name, share in shares.items()}
        chosen = {name: _written(value) for name, value in self if value is not None}
        # Otherwise the server logs a slow statement's parameters in full: sessions, addresses, amounts.
        return dict(sorted({**derived, "log_parameter_max_length": "0", **chosen}.items()))

    def at_most(self, memory: Decimal) -> int:
        """Bytes that the server uses when every connection sorts and every autovacuum worker is busy."""
        given = self.given(memory)
        return (
            amount(given["shared_buffers"])
            + self.max_connections * amount(given["work_mem"])
            + self.autovacuum_max_workers * amount(given["maintenance_work_mem"])
            + (self.max_locks_per_transaction or 0) * self.max_connections * _LOCK
        )


def _written(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
