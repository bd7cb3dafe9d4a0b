"""What is read from a state after a killed `up`, and what is repaired in it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import Mock

import pytest

from ops import recover as module
from ops.command_line import PulumiError
from ops.recover import deploy_tokens, interrupted, mend_checkpoint, mend_store, pending_creates, recover
from ops.recover.deploy_tokens import recorded_ids
from ops.recover.lock import UnknownHolderError, check_lock
from ops.recover.state_import import UnrecordedResource
from settings import Settings
from tests.stacks import DEV, PROD
from tests.unit.program import run
from tests.unit.stack_files import sections
from tests.unit.test_infrastructure import schedule as pipeline_schedule

GOOD = json.dumps({"version": 3})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / ".pulumi" / "stacks" / "invoicetron"
    folder.mkdir(parents=True)
    return folder


def mended(tmp_path: Path, backend: str | None = None) -> bool:
    return mend_checkpoint(DEV, backend or tmp_path.as_uri())


def test_a_half_written_checkpoint_is_replaced_by_its_backup(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json").write_text(GOOD[:-3])
    (folder / "dev.json.bak").write_text(GOOD)
    assert mended(tmp_path)
    assert (folder / "dev.json").read_text() == GOOD
    assert not mended(tmp_path)


def test_a_checkpoint_that_is_missing_altogether_is_taken_from_its_backup(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json.bak").write_text(GOOD)
    assert mended(tmp_path)
    assert (folder / "dev.json").read_text() == GOOD


def test_a_good_checkpoint_is_never_replaced_and_another_stacks_is_not_touched(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json").write_text('{"version": 3, "newer": true}')
    (folder / "dev.json.bak").write_text(GOOD)
    (folder / "prod.json").write_text("")
    (folder / "prod.json.bak").write_text(GOOD)
    assert not mended(tmp_path)
    assert "newer" in (folder / "dev.json").read_text()
    assert (folder / "prod.json").read_text() == ""


def test_an_unreadable_backup_is_not_used(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json").write_text("")
    (folder / "dev.json.bak").write_text("{")
    assert not mended(tmp_path)


@pytest.mark.parametrize("cut_off", ["", "\0" * 512, "null", "{}", "[]", '""', '{"version": 3, "checkpoint": {"late'])
@pytest.mark.parametrize("packed", [False, True])
def test_a_checkpoint_that_is_cut_off_in_any_way_is_replaced_by_its_backup(
    tmp_path: Path, folder: Path, cut_off: str, *, packed: bool
) -> None:
    name, whole = "dev.json.gz" if packed else "dev.json", GOOD.encode()
    if packed:
        whole = gzip.compress(whole)
    (folder / name).write_bytes(whole[:-9] if packed else cut_off.encode())
    (folder / f"{name}.bak").write_bytes(whole)
    assert mended(tmp_path)
    assert (folder / name).read_bytes() == whole
    assert not mended(tmp_path)


def test_an_emptied_layout_file_of_the_store_is_rewritten(tmp_path: Path, folder: Path) -> None:
    assert not mend_store(DEV, tmp_path)
    layout = tmp_path / ".pulumi" / "meta.yaml"
    for content in ("", "\0\0\0"):
        layout.write_text(content)
        (tmp_path / ".pulumi" / "meta.yaml.attrs").write_text("")
        assert mend_store(DEV, tmp_path)
        assert layout.read_text() == "version: 1\n"
        assert not (tmp_path / ".pulumi" / "meta.yaml.attrs").exists()
    assert not mend_store(DEV, tmp_path)
    layout.write_text("")
    folder.rename(folder.parent / "another")
    assert not mend_store(DEV, tmp_path), "an older layout has no folders of projects"
    assert not mend_store(DEV, None)


def test_the_backend_of_a_login_is_found_as_pulumi_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Holder(tmp_path, "pulumi")
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    monkeypatch.setattr(module, "pulumi", lambda *_: json.dumps({"user": "me", "url": tmp_path.as_uri()}))
    try:
        with pytest.raises(PulumiError, match="is being worked on"):
            recover(DEV, lambda *_: None)
    finally:
        holder.kill()
        holder.process.wait()


def test_empty_attributes_are_removed_and_good_ones_stay(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json").write_text(GOOD)
    (folder / "dev.json.attrs").write_text("")
    (folder / "dev.json.bak.attrs").write_text("{}")
    assert mended(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["dev.json", "dev.json.bak.attrs"]


def test_only_the_file_backend_is_mended(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json").write_text("")
    (folder / "dev.json.bak").write_text(GOOD)
    assert not mended(tmp_path, "s3://bucket?endpoint=https://minio.example.com")


def test_only_creates_are_pending_creates() -> None:
    operations = [
        {"type": "creating", "resource": {"urn": "a", "type": "t"}},
        {"type": "updating", "resource": {"urn": "b", "type": "t"}},
    ]
    assert list(pending_creates({"deployment": {"pending_operations": operations}})) == ["a"]
    assert pending_creates({"deployment": {}}) == {}


def test_a_recorded_deploy_token_is_recognised_by_the_last_part_of_its_id() -> None:
    token = {"type": "gitlab:index/projectDeployToken:ProjectDeployToken", "id": "57:4"}
    variable = {"type": "gitlab:index/projectVariable:ProjectVariable", "id": "57:KEY:*"}
    assert recorded_ids({"deployment": {"resources": [token, variable]}}) == {"4"}


@pytest.mark.parametrize("backend", ["file://./state", "file://~/state", "file://./state?no_tmp_dir=true"])
def test_a_checkpoint_is_looked_for_where_the_engine_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "state/.pulumi/stacks/invoicetron"
    folder.mkdir(parents=True)
    (folder / "dev.json.bak").write_text(GOOD)
    assert mended(tmp_path, backend)
    assert (folder / "dev.json").read_text() == GOOD


class FakePulumi:
    """A state with one pending create, and a command line whose refresh fails once."""

    def __init__(self) -> None:
        parent, provider = "urn:parent", "urn:provider"
        self.pending = {"urn": "urn:x", "type": "t", "parent": parent, "provider": f"{provider}::id"}
        self.resources: list[dict[str, str]] = [{"urn": parent}, {"urn": provider}]
        self.refreshes = 0

    def run(self, command: str, *_: str) -> str:
        if command == "refresh":
            self.refreshes += 1
            if self.refreshes == 1:
                raise PulumiError("a provider does not answer")
        operations = [{"type": "creating", "resource": self.pending}]
        return json.dumps({"deployment": {"resources": self.resources, "pending_operations": operations}})

    def imported(self, _stack: str, made: Sequence[UnrecordedResource]) -> None:
        self.resources.extend({"urn": self.pending["urn"]} for _ in made)


def test_a_created_resource_is_recorded_once_and_before_it_stops_being_pending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakePulumi()
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///nonexistent")
    monkeypatch.setattr(module, "pulumi", fake.run)
    monkeypatch.setattr(module, "import_into_state", fake.imported)
    with pytest.raises(PulumiError):
        recover(DEV, lambda *_: "id")
    assert [one["urn"] for one in fake.resources].count("urn:x") == 1
    assert recover(DEV, lambda *_: "id").imported == {"urn:x": "id"}
    assert [one["urn"] for one in fake.resources].count("urn:x") == 1


def test_recover_imports_from_gitlab_exactly_what_the_next_up_would_not_find(monkeypatch: pytest.MonkeyPatch) -> None:
    infrastructure = {"project": "0xwsh/invoicetron-infra"}
    changes = {"repository.protectedEnvironments": ["production"], "repository.infrastructure": infrastructure}
    first = run("prod", changes)
    variables = [one.inputs for one in first.of("ProjectVariable")]
    (schedule,) = first.of("PipelineSchedule")
    there = {
        "getProjectEnvironments": {"environments": [{"id": 9, "name": "production"}]},
        "getProjectVariables": {
            "variables": [{name: one[name] for name in ("key", "environmentScope", "value")} for one in variables]
        },
        "getProjectBranches": {"branches": [{"name": "main"}, {"name": "develop"}]},
        "getProjectProtectedBranches": {"protectedBranches": [{"name": "main"}, {"name": "develop"}]},
        "getPipelineSchedules": {"pipelineSchedules": [pipeline_schedule(7, schedule.inputs["description"])]},
        "getProjectProtectedTags": {"protectedTags": [{"tag": "v*", "createAccessLevels": []}]},
    }
    program = run("prod", changes, gitlab=there, protected_environments=["production"])
    # A lost token is useless: recover finds none, and revokes it.
    made = [one for one in program.registrations if one.type.startswith("gitlab:") and one.kind != "ProjectDeployToken"]
    finds_itself = {one.urn for one in made if one.request.importId or list(one.request.hooks.before_create)}
    left = {one.kind for one in made if one.urn not in finds_itself}
    assert left == {"ProjectPushMirror"}

    operations = [
        {
            "type": "creating",
            "resource": {"urn": one.urn, "type": one.type, "parent": one.parent, "provider": "urn:provider::id"},
        }
        for one in made
    ]
    checkpoint = {"deployment": {"pending_operations": operations}}
    imported: list[UnrecordedResource] = []
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///nonexistent")
    monkeypatch.setattr(module, "pulumi", lambda *_: json.dumps(checkpoint))
    monkeypatch.setattr(module, "import_into_state", lambda _, resources: imported.extend(resources))
    done = recover(PROD, lambda *_: "id")
    assert {(one.type, one.name) for one in imported} == {
        (one.type, one.name) for one in made if one.urn not in finds_itself
    }
    assert set(done.imported) == {one.urn for one in made}
    assert done.taken_over == finds_itself, "the others are recorded now"


class Holder:
    """A process with this name, and the folder of a backend whose lock it holds."""

    def __init__(self, folder: Path, name: str) -> None:
        program = folder / name
        program.symlink_to(shutil.which("sleep") or "/bin/sleep")
        self.process = subprocess.Popen([str(program), "60"])
        self.folder = folder
        self.lock(pid=self.process.pid)

    def lock(self, **content: object) -> None:
        locks = self.folder / ".pulumi" / "locks" / "organization" / "invoicetron" / "dev"
        locks.mkdir(parents=True, exist_ok=True)
        written = {"username": "ci", "hostname": socket.gethostname(), "timestamp": "2026-11-01T00:00:00Z", **content}
        (locks / "one.json").write_text(json.dumps(written))

    def kill(self) -> None:
        self.process.kill()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    one = Holder(tmp_path, "pulumi")
    yield one
    one.kill()
    one.process.wait()


def test_the_lock_of_a_running_process_is_not_taken_even_if_the_user_is_certain(holder: Holder) -> None:
    for certain in (False, True):
        with pytest.raises(PulumiError, match=f"is being worked on: process {holder.process.pid} of ci"):
            check_lock(DEV, holder.folder, certain=certain)
    check_lock(PROD, holder.folder, certain=False)


def test_the_lock_of_a_dead_process_is_free_even_before_it_is_reaped(holder: Holder) -> None:
    holder.kill()
    os.waitid(os.P_PID, holder.process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie
    check_lock(DEV, holder.folder, certain=False)
    holder.process.wait()
    check_lock(DEV, holder.folder, certain=False)


def test_a_process_id_that_another_program_has_by_now_holds_no_lock(tmp_path: Path) -> None:
    other = Holder(tmp_path, "editor")
    try:
        check_lock(DEV, tmp_path, certain=False)
    finally:
        other.kill()
        other.process.wait()


@pytest.mark.parametrize("ps", ["echo 'ps: unrecognized option: p' >&2; exit 1", "exit 0", None])
def test_a_running_process_holds_its_lock_if_ps_cannot_identify_it(
    holder: Holder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ps: str | None
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    if ps is not None:
        (programs / "ps").write_text(f"#!/bin/sh\n{ps}\n")
        (programs / "ps").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(PulumiError, match="is being worked on"):
        check_lock(DEV, holder.folder, certain=True)
    holder.kill()
    holder.process.wait()
    check_lock(DEV, holder.folder, certain=False)


@pytest.mark.parametrize("pid", [0, -1, 2**63])
def test_a_lock_with_an_impossible_process_id_is_free(holder: Holder, pid: int) -> None:
    holder.lock(pid=pid)
    check_lock(DEV, holder.folder, certain=False)


def test_a_lock_of_another_machine_or_an_invisible_one_needs_the_users_word(holder: Holder) -> None:
    holder.lock(pid=1, hostname="runner-7")
    with pytest.raises(UnknownHolderError, match="process 1 of ci on runner-7, since 2026-11-01"):
        check_lock(DEV, holder.folder, certain=False)
    check_lock(DEV, holder.folder, certain=True)
    with pytest.raises(UnknownHolderError, match="does not say who holds its lock"):
        check_lock(DEV, None, certain=False)
    check_lock(DEV, None, certain=True)


def state(*names: str, outputs: bool, deleting: str | None = None) -> dict[str, object]:
    root = {"urn": "a::p::pulumi:pulumi:Stack::p-dev", "type": "pulumi:pulumi:Stack"}
    operations = [{"type": "deleting", "resource": {"urn": f"a::{deleting}"}}] if deleting else []
    resources = [root | ({"outputs": {"url": "x"}} if outputs else {}), *({"urn": f"a::{name}"} for name in names)]
    return {"deployment": {"resources": resources, "pending_operations": operations}}


@pytest.mark.parametrize(
    ("checkpoint", "command"),
    [
        (state("namespace", outputs=False), "pulumi up -s dev"),
        (state("namespace", "app", "app-service", "route", outputs=True), "pulumi up -s dev"),
        (state("namespace", "app", "app-service", "route", outputs=True, deleting="route"), "pulumi destroy -s dev"),
        (state("namespace", "app", "app-service", outputs=True), "pulumi destroy -s dev"),
        (
            state("namespace", "app", "app-service", "route", outputs=True, deleting="backup"),
            "what was killed: pulumi destroy -s dev, or pulumi up -s dev",
        ),
        ({"deployment": {}}, "pulumi up -s dev"),
    ],
)
def test_the_killed_command_is_recognised_by_what_the_state_lacks(checkpoint: dict[str, object], command: str) -> None:
    assert interrupted("dev", checkpoint) == command


def test_a_state_cut_off_with_its_backup_is_reported_with_the_newest_whole_checkpoint(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", tmp_path.as_uri())
    for name in ("dev.json", "dev.json.bak"):
        (folder / name).write_text(GOOD[:-3])
    with pytest.raises(PulumiError, match=r"truncated, as by a full disk.*There is no intact one.*move it away"):
        recover(DEV, lambda *_: None)
    history = tmp_path / ".pulumi" / "history" / "invoicetron" / "dev"
    history.mkdir(parents=True)
    for number, content in enumerate((GOOD, GOOD, "{")):
        file = history / f"dev-{number}.checkpoint.json"
        file.write_text(content)
        os.utime(file, (number, number))
    with pytest.raises(PulumiError, match=f"cp {history}/dev-1.checkpoint.json {folder}/dev.json"):
        recover(DEV, lambda *_: None)


PULL_SECRET = {
    "metadata": {"annotations": {"invoicetron/deploy-token": "annotated"}},
    "data": {
        ".dockerconfigjson": base64.b64encode(json.dumps({"auths": {"r": {"username": "used"}}}).encode()).decode()
    },
}


def test_a_token_that_the_pull_secret_names_is_not_revoked_even_if_no_state_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("recorded", "used", "annotated", "lost")
    tokens = [Mock(id=number, username=name) for number, name in enumerate(names)]
    monkeypatch.setattr(deploy_tokens, "active", lambda *_: tokens)
    recorded = {"type": "gitlab:index/projectDeployToken:ProjectDeployToken", "id": "57:0"}
    monkeypatch.setattr(deploy_tokens, "pulumi", lambda *_: json.dumps({"deployment": {"resources": [recorded]}}))
    kubernetes = Mock()
    kubernetes.resources.get.return_value.get.return_value.to_dict.return_value = PULL_SECRET
    assert deploy_tokens.revoke_orphans(Settings.load(DEV, sections("dev")), Mock(), kubernetes) == ["lost"]
    assert [token.username for token in tokens if token.delete.called] == ["lost"]


def test_the_lock_and_state_of_another_project_s_stack_of_the_same_name_are_left_alone(tmp_path: Path) -> None:
    other = Holder(tmp_path, "pulumi")
    try:
        locks = tmp_path / ".pulumi" / "locks" / "organization"
        (locks / "invoicetron").rename(locks / "another")
        check_lock(DEV, tmp_path, certain=False)
    finally:
        other.kill()
        other.process.wait()
    attributes = tmp_path / ".pulumi" / "stacks" / "another" / "dev.json.attrs"
    attributes.parent.mkdir(parents=True)
    attributes.write_text("")
    assert mend_checkpoint(DEV, f"file://{tmp_path}") is False
    assert attributes.exists()
