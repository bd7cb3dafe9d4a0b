"""The options of `ops restore`: all combinations that do not fit are reported at once, before anything changes."""

from __future__ import annotations

from typing import Any

import pytest

from ops.restore.options import Options
from ops.restore.source import SourceError
from settings import Settings
from tests.unit.program import load_settings
from tests.unit.test_wal_archive import WAL

PROD = load_settings("prod")
WITHOUT_DATABASE = PROD.model_copy(update={"database": None, "backup": None})
WITHOUT_BACKUPS = PROD.model_copy(update={"backup": None})


def archived() -> Settings:
    assert PROD.database
    database = type(PROD.database).model_validate({"engine": "cloudnative-pg", "wal": WAL})
    return PROD.model_copy(update={"database": database})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, ["given: none of them"]),
        (
            {"source": "latest", "to": "2026-01-20 14:05"},
            ["given: --from and --to", "--to 2026-01-20 14:05: database.engine statefulset"],
        ),
        ({"source": "latest", "discarded": "lost"}, ["given: --from and --discard"]),
        ({"source": "latest", "archive": "old"}, ["--archive goes with --to"]),
        ({"discarded": "lost", "into": "found"}, ["--discard restores nothing: leave out --into"]),
        (
            {"discarded": "Lost", "expect": "invoices=1", "clear_sessions": True, "archive": "old"},
            [
                "--archive goes with --to",
                "--discard restores nothing: leave out --expect and --clear-sessions",
                "--discard Lost: up to 20 lower-case letters",
            ],
        ),
        (
            {"source": "nothing.dump", "expect": "invoices", "into": "1"},
            ["--from nothing.dump", "--expect", "--into 1"],
        ),
    ],
)
def test_all_mistakes_are_reported_at_once(given: dict[str, Any], told: list[str]) -> None:
    with pytest.raises(SourceError) as error:
        Options(**given).check(PROD)
    assert all(part in str(error.value) for part in told)
    assert len(str(error.value).splitlines()) == len(told)


def test_a_wrong_moment_and_a_wrong_expectation_are_refused_together() -> None:
    with pytest.raises(SourceError) as error:
        Options(to="yesterday", expect="invoices", archive="../old").check(archived())
    assert [line.split(" ")[0] for line in str(error.value).splitlines()] == ["--archive", "--to", "--expect:"]


@pytest.mark.parametrize("given", [{"source": "latest"}, {"to": "2026-01-20 14:05"}, {"discarded": "lost"}])
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (WITHOUT_DATABASE, "stack prod has no database (database: {enabled: false})"),
        (WITHOUT_BACKUPS, "stack prod has no backups, which restores need as well: give Pulumi.prod.yaml a section"),
    ],
)
def test_the_reason_why_a_stack_cannot_be_restored_is_given_once(
    settings: Settings, why: str, given: dict[str, Any]
) -> None:
    with pytest.raises(SourceError) as error:
        Options(**given).check(settings)
    assert str(error.value).count(why) == 1


def test_options_that_fit_together_are_accepted() -> None:
    request, moment = Options(source="latest", expect="invoices=1", clear_sessions=True).check(PROD)
    assert request is not None
    assert (request.source.backup, request.clear_sessions, moment) == ("latest", True, None)
    request, moment = Options(to="2026-01-20 14:05", archive="old", into="lost").check(archived())
    assert request is not None
    assert moment is not None
    assert (request.into, moment.archive, moment.live) == ("lost", "old", False)
    assert Options(discarded="lost").check(PROD) == (None, None)
