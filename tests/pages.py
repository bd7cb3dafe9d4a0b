"""The pages that people read, and the commands in them.

The info string of a command block says what checks it:

    ```sh rehearsed             run by tests/rehearsal/test_pages.py, page by page, in order, on a fresh stack dev
    ```sh rehearsed-by <file>   run by that test in a separate rehearsal, worded differently
    ```sh make                  targets of the Makefile, which exist; CI runs `make test`
    ```sh real-system           needs what no rehearsal has

The command in a comment `<!-- given: <command> -->` before a block runs first, to set up what the block starts from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[1]
README: Final = REPOSITORY / "README.md"
DOCS: Final = tuple(sorted((REPOSITORY / "docs").rglob("*.md")))

_FENCE: Final = re.compile(r"^ *```(?P<info>[^`]*)$")
_GIVEN: Final = re.compile(r"^ *<!-- given: (.+) -->$")
_CODE: Final = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    info: str
    text: str
    given: tuple[str, ...] = ()

    @property
    def is_shell(self) -> bool:
        """Whether it holds commands."""
        return self.info.split(" ")[0] in {"sh", "bash", "shell", "console"}

    @property
    def mark(self) -> str:
        """What follows the language in the info string."""
        return self.info.partition(" ")[2]

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page."""
    info: str | None = None
    start, lines, given = 0, list[str](), list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if before := _GIVEN.match(line):
            given.append(before[1])
        elif fence := _FENCE.match(line):
            if info is None:
                info, start, lines = fence["info"].strip(), number, []
            else:
                yield Block(page=page, line=start, info=info, text="\n".join(lines) + "\n", given=tuple(given))
                info, given = None, []
        elif info is not None:
            lines.append(line)


def prose(page: Path) -> str:
    """The page without its blocks."""
    kept, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def code(page: Path) -> list[str]:
    """Everything between backticks in the page's prose."""
    return [" ".join(each.split()) for each in _CODE.findall(prose(page))]


def commands(page: Path) -> Iterator[str]:
    """Every line of a shell block, and every piece of code in the prose."""
    for block in blocks(page):
        if block.is_shell:
            yield from (line.strip() for line in block.text.replace("\\\n", " ").splitlines() if line.strip())
    yield from code(page)
