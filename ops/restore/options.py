"""Checks the options of `ops restore` together: which exclude each other, and everything else that is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from ops.backup import why_no_backups
from ops.backups import LATEST
from ops.restore import RestoreRequest, parse_request
from ops.restore.moment import Moment, parse
from ops.restore.source import SourceError, look_complaints
from settings import Settings


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options, as given on the command line."""

    source: str | None = None
    """`--from`."""
    to: str | None = None
    archive: str | None = None
    expect: str | None = None
    clear_sessions: bool = False
    into: str | None = None
    discarded: str | None = None
    """`--discard`."""

    def check(self, settings: Settings) -> tuple[RestoreRequest | None, Moment | None]:
        """What to restore, and the moment to recover first, if any; neither if a database is only discarded.

        Raises `SourceError` with everything that is wrong.
        """
        wrong, request, moment = list(self._mismatches()), None, None
        if self.discarded is not None:
            wrong += look_complaints("--discard", self.discarded)
            wrong += filter(None, [why_no_backups(settings)])
        if self.to is not None:
            try:
                moment = parse(settings, to=self.to, archive=self.archive)
            except SourceError as error:
                wrong += str(error).splitlines()
        if self.discarded is None:
            try:
                request = parse_request(
                    settings,
                    source=self.source or LATEST,
                    expect=self.expect,
                    clear_sessions=self.clear_sessions,
                    into=self.into,
                )
            except SourceError as error:
                wrong += str(error).splitlines()
        if wrong:
            raise SourceError("\n".join(dict.fromkeys(wrong)))
        return request, moment

    def _mismatches(self) -> list[str]:
        wrong = []
        sources = {"--from": self.source, "--to": self.to, "--discard": self.discarded}
        given = [option for option, value in sources.items() if value is not None]
        if len(given) != 1:
            wrong.append(
                "give one of --from or --to (what to restore) and --discard (what to drop); given: "
                f"{' and '.join(given) or 'none of them'}"
            )
        if self.archive is not None and self.to is None:
            wrong.append("--archive goes with --to, which recovers from it")
        of_restore = {"--expect": self.expect, "--clear-sessions": self.clear_sessions or None, "--into": self.into}
        ignored = [option for option, value in of_restore.items() if value is not None]
        if self.discarded is not None and ignored:
            wrong.append(f"--discard restores nothing: leave out {' and '.join(ignored)}")
        return wrong
