"""A check, what it found, and what is said where it could not look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ops.verify.systems import Systems
from ops.verify.trouble import CheckError, explain
from settings import Settings


@dataclass(frozen=True, kw_only=True)
class Check:
    """`look` gives what was seen in `Systems` where all is well, and raises `CheckError` otherwise."""

    name: str
    look: Callable[..., str]
    applies: Callable[[Settings], bool] = lambda _settings: True
    """Whether the stack has what is looked at."""
    hostnames: Callable[[Settings], Sequence[str]] | None = None
    """The stack's hostnames, where the check is about one: `look` is then called for each, with its `hostname`."""

    def each(self, settings: Settings) -> list[Check]:
        """What to examine: nothing, the check, or one for each hostname, named after it where it has others."""
        if not self.applies(settings):
            return []
        if self.hostnames is None:
            return [self]
        names = self.hostnames(settings)
        return [
            replace(
                self,
                name=self.name if len(names) == 1 else f"{self.name} {hostname}",
                look=partial(self.look, hostname=hostname),
                hostnames=None,
            )
            for hostname in names
        ]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the report; `fix` is there where the check failed."""

    check: str
    ok: bool
    seen: str
    fix: str | None = None


def examine(check: Check, systems: Systems) -> Result:
    """The check's result. A check that could not be made has failed, and says why."""
    try:
        return Result(check=check.name, ok=True, seen=check.look(systems))
    except CheckError as error:
        return Result(check=check.name, ok=False, seen=error.seen, fix=error.fix)
    except Exception as error:  # noqa: BLE001 - five clients with an exception hierarchy each; none may end the run
        why, fix = explain(error)
        return Result(check=check.name, ok=False, seen=f"could not be checked: {why}", fix=fix)
