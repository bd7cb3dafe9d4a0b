"""A check and its result, also for a check that could not be made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ops.verify.systems import Systems
from ops.verify.trouble import CheckError, explain
from settings import Settings


@dataclass(frozen=True, kw_only=True)
class Check:
    """`look` returns what it saw in `Systems` if all is well, and raises `CheckError` otherwise."""

    name: str
    look: Callable[..., str]
    applies: Callable[[Settings], bool] = lambda _settings: True
    """Whether the stack has what the check looks at."""
    hostnames: Callable[[Settings], Sequence[str]] | None = None
    """If the check is about a hostname, the stack's hostnames: `look` is called once for each, with `hostname`."""

    def each(self, settings: Settings) -> list[Check]:
        """What to examine: nothing, the check, or one check for each hostname, which names it if there are several."""
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
    """One line of the report; `fix` is set if the check failed."""

    check: str
    ok: bool
    seen: str
    fix: str | None = None


def examine(check: Check, systems: Systems) -> Result:
    """The check's result. A check that could not be made has failed; its result says why."""
    try:
        return Result(check=check.name, ok=True, seen=check.look(systems))
    except CheckError as error:
        return Result(check=check.name, ok=False, seen=error.seen, fix=error.fix)
    except Exception as error:  # noqa: BLE001 - five clients with an exception hierarchy each; none may end the run
        why, fix = explain(error)
        return Result(check=check.name, ok=False, seen=f"could not be checked: {why}", fix=fix)
