"""A table of figures, for the terminal and for docs/figures.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

_BEGIN = "<!-- made by `make bench WHAT={group}` -->\n"
_END = "<!-- end -->"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Rows of text under a title."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *row: str) -> None:
        """Adds a row, with one cell for each column."""
        if len(row) != len(self.columns):
            raise ValueError(f"{len(row)} cells for {len(self.columns)} columns: {row}")
        self.rows.append(row)

    def __rich__(self) -> Table:
        table = Table(*self.columns, title=self.title)
        for row in self.rows:
            table.add_row(*row)
        return table

    @property
    def markdown(self) -> str:
        """The title in bold, and the table, in Markdown."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return f"**{self.title}**\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write(file: Path, group: str, figures: Sequence[Figures]) -> None:
    """Replaces the group's previous tables in the page; the rest of it stays.

    Raises `ValueError` if the page has no place for the group.
    """
    begin = _BEGIN.format(group=group)
    before, found, rest = file.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(_END)
    if not (found and ended):
        raise ValueError(f"{file} has no place for the figures of {group}: it needs the lines {begin}and {_END}")
    tables = "\n".join(one.markdown for one in figures)
    file.write_text(f"{before}{begin}{tables}{_END}{after}", encoding="utf-8")
