"""Writes every file generated from the code: `make generate`. A test compares each with what this would write.

The drawings are Mermaid, which GitLab and GitHub render; they stand between marks in hand-written pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

from components.dashboard import dashboard_json
from settings import Settings
from settings.schema import stack_file_schema
from tests.unit import network_page
from tests.unit.dashboard import WATCHED
from tests.unit.program import REPOSITORY, Program, Registration, run

_OWN_TYPE: Final = "invoicetron:"
_DRAWING: Final = re.compile(r"(<!-- made by `make generate`: (\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def urns(program: Program) -> str:
    """Every resource of a stack, one per line: a renamed one would be deleted and recreated in production."""
    return "".join(f"{urn}\n" for urn in sorted(each.urn for each in program.registrations))


def stack_drawing(program: Program) -> str:
    """The components of a stack; an arrow points from a component to one that needs it."""
    named = (each for each in program.registrations if each.type.startswith(_OWN_TYPE))
    own = [each for each in named if _component(program, each) == each.name]  # the others are parts of a component
    components = sorted(own, key=lambda each: each.name)  # the order of registration changes from run to run
    lines = [f'  {_id(each.name)}["{each.kind}"]' for each in components]
    edges = sorted({edge for each in program.registrations for edge in _feeds(program, each)})
    lines += [f"  {_id(source)} --> {_id(target)}" for source, target in edges]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


def network_drawing(program: Program) -> str:
    """Who may reach whom: the connections of docs/network.md."""
    ports: dict[tuple[str, str], list[str]] = {}
    for source, target, port in sorted(network_page.edges(program)):
        ports.setdefault((source, target), []).append(port)
    names = sorted({name for pair in ports for name in pair})
    lines = [f'  {_id(name)}["{name}"]' for name in names]
    lines += [f'  {_id(a)} -->|"{", ".join(each)}"| {_id(b)}' for (a, b), each in sorted(ports.items())]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


_DRAWINGS: Final[Mapping[str, Callable[[Program], str]]] = {"stack": stack_drawing, "network": network_drawing}


def generated(programs: Mapping[str, Program]) -> Iterator[tuple[Path, str]]:
    """Each generated file and its required content; `programs` holds the run of each stack by name."""
    for file in (REPOSITORY / "Pulumi.yaml", *sorted(REPOSITORY.glob("apps/*/Pulumi.yaml"))):
        app = yaml.safe_load(file.read_text(encoding="utf-8"))["name"]
        yield file.with_name("stack.schema.json"), stack_file_schema(Settings, app)
    yield REPOSITORY / "tests" / "unit" / "dashboard.json", dashboard_json(WATCHED)
    yield REPOSITORY / "docs" / "network.md", network_page.page(*programs.values())
    for stack, program in programs.items():
        yield REPOSITORY / "tests" / "unit" / "urns" / f"{stack}.txt", urns(program)
    for page in (REPOSITORY / "docs" / "architecture.md", REPOSITORY / "README.md"):
        yield page, _drawn(page.read_text(encoding="utf-8"), programs)


def _drawn(text: str, programs: Mapping[str, Program]) -> str:
    return _DRAWING.sub(lambda at: f"{at[1]}{_DRAWINGS[at[2]](programs[at[3]])}\n{at[4]}", text)


def _feeds(program: Program, resource: Registration) -> Iterator[tuple[str, str]]:
    """Pairs of components, the second of which needs the first."""
    needing = _component(program, resource)
    for urn in resource.request.dependencies:
        needed = _component(program, program.by_urn(urn))
        if needing and needed and needing != needed:
            yield needed, needing


def _component(program: Program, resource: Registration) -> str | None:
    """Name of the component that a resource is part of: the outermost one."""
    name = None
    while True:
        if resource.type.startswith(_OWN_TYPE):
            name = resource.name
        above = [each for each in program.registrations if each.urn == resource.parent]
        if not above:
            return name
        (resource,) = above


def _id(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def main() -> None:
    """Writes all generated files."""
    for file, content in generated({stack: run(stack) for stack in ("dev", "prod")}):
        file.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
