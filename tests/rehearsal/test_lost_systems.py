"""What a lost state, cluster or GitLab takes, as the pages say: adopt what is left, and let `up` create the rest."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.engine import EngineError
from rehearsal.rehearsal import Rehearsal
from rehearsal.vendors.gitlab import GitLab
from rehearsal.vendors.server import serve
from tests.rehearsal.cleanup import clean_up
from tests.rehearsal.ops_command import ops

NAMESPACE = "invoicetron-prod"
KEPT = "pvc,statefulset,deployment,service,secret,cronjob,httproute"


def adopt(rehearsal: Rehearsal) -> dict[str, str]:
    """Adopts what exists into prod's empty state; returns the changes of the `up` that completes it."""
    told = ops(rehearsal, "import-existing", "prod", timeout=300)
    assert "Nothing prevents the import." in told
    command = next(line.partition("pulumi ")[2] for line in told.splitlines() if line.startswith("Then: "))
    rehearsal.program.run(*shlex.split(command), "--yes")
    changes = rehearsal.program.up("prod", "--skip-preview").changes
    assert not rehearsal.program.up("prod", "--skip-preview").changes
    return changes


def uids(rehearsal: Rehearsal) -> str:
    return rehearsal.kubectl("-n", NAMESPACE, "get", KEPT, "-o", "custom-columns=:kind,:metadata.name,:metadata.uid")


def test_a_state_whose_passphrase_is_lost_is_replaced_by_one_that_adopts_everything(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("prod")
    rehearsal.program.up("prod", "--skip-preview")
    before, applications = uids(rehearsal), set(rehearsal.cloudflare.applications)
    program = rehearsal.program.with_environment({"PULUMI_CONFIG_PASSPHRASE": "another"})
    with pytest.raises(EngineError, match="incorrect passphrase"):
        program.preview("prod")

    program.run("stack", "rm", "prod", "--force", "--preserve-config", "--yes")
    file = program.directory / "Pulumi.prod.yaml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("encryptionsalt:")))
    program.init("prod")
    new = replace(rehearsal, program=program)
    changes = adopt(new)
    assert not set(changes.values()) - {"create", "update"}, "something was deleted or replaced"
    assert uids(new) == before
    assert set(new.cloudflare.applications) == applications
    assert "revoked: deploy token" in ops(new, "recover", "prod", timeout=120)
    assert len(new.gitlab.project.deploy_tokens.entries({})) == 1


def test_a_stack_whose_cluster_and_state_are_lost_adopts_what_the_vendors_still_have(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    rehearsal.program.init("prod")
    rehearsal.program.up("prod", "--skip-preview")
    applications, records = set(rehearsal.cloudflare.applications), set(rehearsal.cloudflare.records)
    clean_up(rehearsal.client)
    (tmp_path / "backend").mkdir()
    backend = {"PULUMI_BACKEND_URL": (tmp_path / "backend").as_uri()}
    new = replace(rehearsal, program=rehearsal.program.with_environment(backend))
    new.program.init("prod")
    with pytest.raises(EngineError, match="adopt everything with python -m ops import-existing --stack prod"):
        new.program.up("prod", "--skip-preview")

    assert adopt(new)["database"] == "create"
    assert set(new.cloudflare.applications) == applications
    assert set(new.cloudflare.records) == records
    assert len(new.gitlab.project.mirrors.entries({})) == 1


def test_a_new_gitlab_gets_everything_again_from_one_up(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    gitlab = GitLab.seeded()
    with serve(gitlab.app) as url:
        there = {"GITLAB_BASE_URL": f"{url}/api/v4/", "GITLAB_TOKEN": gitlab.token}
        program = rehearsal.program.with_environment(there)
        changes = program.up("dev", "--skip-preview").changes
        assert {name for name, operation in changes.items() if operation != "create"} == {"item", "pull-secret"}
        assert len(gitlab.project.deploy_tokens.entries({})) == 1
        assert not program.up("dev", "--skip-preview").changes
