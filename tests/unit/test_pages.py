"""Everything that the pages name exists: commands, options, files, links, settings; and each block says what keeps it
true."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from components.alerts import Watched, alerts
from ops.commands import app
from ops.verify import CHECKS
from tests.pages import DOCS, README, REPOSITORY, Block, blocks, code, commands, prose
from tests.stacks import PROD

PAGES = (README, *DOCS)
SCHEMA = json.loads((REPOSITORY / "stack.schema.json").read_text(encoding="utf-8"))
EXAMPLES = {"docs/backup-and-restore.md"}
"""Pages of another project, which the code names as examples."""
OPS: Any = typer.main.get_command(app)
FILES = re.compile(r"[\w.-]+(/[\w.{}-]+)*\.(py|sh|sql|ya?ml|json|md|toml)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


def shell_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.is_shell]


@pytest.mark.parametrize("block", shell_blocks(), ids=str)
def test_a_block_of_commands_says_what_keeps_it_true(block: Block) -> None:
    mark, _, test = block.mark.partition(" ")
    assert mark in {"rehearsed", "rehearsed-by", "make", "real-system"}, f"{block}: see tests/pages.py"
    assert not block.given or mark == "rehearsed"
    if mark == "make":
        assert all(line.startswith("make ") for line in block.text.splitlines())
    if mark == "rehearsed-by":
        assert Path(test).parts[:2] == ("tests", "rehearsal")
        assert (REPOSITORY / test).is_file(), f"{block}: there is no {test}"


@every_page
def test_every_target_of_make_exists(page: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    named = {target for each in commands(page) for target in re.findall(r"^make ([a-z]+)\b", each)}
    assert not [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)]


@every_page
def test_every_command_of_ops_and_its_options_exist(page: Path) -> None:
    wrong = []
    for each in commands(page):
        for text in re.findall(r"python -m ops ([^|;&#)]+)", each):
            name, *words = shlex.split(re.sub(r"^-C \S+ ", "", text))
            command = OPS.commands.get(name)
            if command and hasattr(command, "commands") and words:
                command = command.commands.get(words[0])
            known = (
                {"--help"} | {option for parameter in command.params for option in parameter.opts} if command else set()
            )
            wrong += [
                f"ops {name} {word}"
                for word in ["", *words]
                if not command or (word.startswith("--") and word not in known)
            ]
    assert not wrong


@every_page
def test_every_python_module_that_is_run_exists(page: Path) -> None:
    modules = {module for each in commands(page) for module in re.findall(r"python -m ([\w.]+)", each)}
    paths = [REPOSITORY / module.replace(".", "/") for module in modules - {"pip", "venv", "pytest"}]
    assert not [path for path in paths if not path.with_suffix(".py").is_file() and not path.is_dir()]


@every_page
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = {each.split("::")[0] for each in code(page) if FILES.fullmatch(each.split("::")[0]) and "/" in each}
    assert not [name for name in named if not (REPOSITORY / name).exists()]


@every_page
def test_every_test_that_is_named_exists(page: Path) -> None:
    for each in code(page):
        file, _, test = each.partition("::")
        if test:
            assert f"def {test}(" in (REPOSITORY / file).read_text(encoding="utf-8")


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", prose(page)):
        assert not target or (page.parent / target).exists(), target


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)


@every_page
def test_every_link_into_a_page_leads_to_a_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]*)\)", prose(page)):
        anchors = {
            re.sub(r"[^\w -]", "", each).lower().replace(" ", "-")
            for each in headings(page.parent / target if target else page)
        }
        assert anchor in anchors


def test_every_page_that_the_code_names_exists() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.yml", "*.yaml", "*.sh", "Makefile"],  # noqa: S607 - the developer's own git
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    code_ = [REPOSITORY / name for name in listed if not name.startswith("tests/")]
    named = {page for file in code_ for page in re.findall(r"\bdocs/[\w/-]+\.md", file.read_text(encoding="utf-8"))}
    assert not [page for page in named if not (REPOSITORY / page).is_file() and page not in EXAMPLES]


def resolve(part: dict[str, Any]) -> dict[str, Any]:
    """A part of the schema, with references followed; of several forms, the one that has properties."""
    forms = [part, *part.get("anyOf", []), *part.get("allOf", [])]
    for form in forms:
        if "$ref" in form:
            found: dict[str, Any] = SCHEMA["definitions"][form["$ref"].rpartition("/")[2]]
            return found
    return next((form for form in forms if "properties" in form), part)


@every_page
def test_every_setting_that_is_named_exists(page: Path) -> None:
    top = SCHEMA["properties"]["config"]["properties"]
    for each in code(page):
        path = each.removeprefix("invoicetron:").partition(":")[0]
        first, *rest = path.split(".")
        if re.fullmatch(r"[a-z]+(\.[a-zA-Z]+)+(?<!\.dump)", path) and f"invoicetron:{first}" in top:
            part = resolve(top[f"invoicetron:{first}"])
            for key in rest:
                assert key in part.get("properties", {}), f"there is no setting {path}"
                part = resolve(part["properties"][key])


SYMPTOMS = [
    "PostgreSQL pod stuck in Pending",
    "Image pull fails (ImagePullBackOff)",
    "Prisma migration Job fails",
    "App can't connect to PostgreSQL",
    "Authentication not working (better-auth)",
    "NEXT_PUBLIC_APP_URL wrong (shows wrong domain)",
    "Login works on canonical URL but not internal URL",
    "Cloudflare Tunnel returns 502",
    "DATABASE_URL password with special characters",
    "kubectl apply reverts CI/CD image",
    "1Password CLI session expired",
]
"""The symptoms that the manual runbook listed under troubleshooting."""

STEPS = {1: 3, 2: 2, 3: 5, 4: 4, 5: 1, 6: 4, 7: 5, 8: 3, 9: 3, 10: 3, 11: 5, 12: 5}
"""How many numbered steps each section (4.9.x) of the manual runbook has."""


def test_every_step_that_was_done_by_hand_has_its_row() -> None:
    table = (REPOSITORY / "docs" / "steps.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (4\.9\.\d+\.\d+) \|", table, re.MULTILINE)
    assert rows == [f"4.9.{section}.{step}" for section, count in STEPS.items() for step in range(1, count + 1)]


def test_every_symptom_that_was_known_by_hand_has_its_section() -> None:
    assert not set(SYMPTOMS) - set(headings(REPOSITORY / "docs" / "runbook" / "symptoms.md"))


def test_the_runbook_has_a_row_for_each_check_of_verify() -> None:
    runbook = (REPOSITORY / "docs" / "runbook" / "verify.md").read_text(encoding="utf-8")
    section = runbook.partition("## Verify the live system")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE) == [check.name for check in CHECKS]


def test_every_check_that_replaces_one_by_hand_exists() -> None:
    checklist = (REPOSITORY / "docs" / "steps.md").read_text(encoding="utf-8").partition("## The checklist")[2]
    named = set(re.findall(r"`([a-z][a-z-]+)`", checklist))
    assert named
    assert not named - {check.name for check in CHECKS}


def test_every_alert_has_the_section_that_it_links_to() -> None:
    page = "https://docs.example.org/alerts.md"
    watched = Watched(
        names=PROD,
        claims=["c"],
        backup="b",
        drill="d",
        upload="u",
        offsite_check="o",
        database_metrics=True,
        instance_metrics=True,
        wal_archive=True,
        offsite_drill="x",
        runbook=page,
        token_expires=dt.date(2030, 1, 1),
        pipeline_token_renewed=dt.date(2030, 1, 1),
        service_token_expires=dt.date(2030, 1, 1),
        certificate_ends="2030-01-01",
        public_urls=["https://invoicetron.example.org"],
    )
    linked = {rule["annotations"]["runbook_url"] for rule in alerts(watched)}
    sections = set(headings(REPOSITORY / "docs" / "alerts.md")[1:]) - {"Other rules in the cluster"}
    assert linked == {f"{page}#{each.lower()}" for each in sections}


def test_an_alert_without_a_page_to_link_to_links_nowhere_and_names_its_section_all_the_same() -> None:
    sections = headings(REPOSITORY / "docs" / "alerts.md")
    for rule in alerts(Watched(names=PROD, claims=["c"], backup="b", drill="d")):
        assert "runbook_url" not in rule["annotations"]
        page, _, section = rule["annotations"]["description"].rpartition(" of this program, ")
        assert page.endswith("docs/alerts.md")
        assert section in sections


def test_alertmanager_routes_every_alert_by_the_labels_of_the_settings() -> None:
    for rule in alerts(Watched(names=PROD, claims=["c"], backup="b", alert_labels={"team": "home"})):
        assert rule["labels"].items() >= {"team": "home", "namespace": PROD.namespace}.items()


@pytest.mark.parametrize("page", [page for page in DOCS if page.parent.name == "decisions"], ids=lambda page: page.name)
def test_a_decision_is_one_short_page_with_its_context_its_alternatives_and_its_checks(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 25
    assert text.startswith(f"# {int(page.name[:2])}. ")
    for part in ("Context", "Decision", "Why not", "Checked by"):
        assert f"**{part}" in text


def test_the_architecture_has_a_row_for_every_component() -> None:
    table = prose(REPOSITORY / "docs" / "architecture.md")
    components = (REPOSITORY / "components").glob("*.py")
    own = [file.name for file in components if "(pulumi.ComponentResource)" in file.read_text(encoding="utf-8")]
    assert own
    assert not [name for name in own if f"`components/{name}`" not in table]
