"""Whose credentials a preview job may see."""

from __future__ import annotations

import pytest

from ci.preview import CREDENTIALS, ExposedError, is_live


def test_a_job_without_credentials_shows_the_rehearsal() -> None:
    assert not is_live({"CI_COMMIT_REF_PROTECTED": "true", "GITLAB_NOTE_TOKEN": "glpat-note", "KUBECONFIG": ""})


def test_a_job_of_a_protected_branch_shows_the_live_stack() -> None:
    assert is_live({"CI_COMMIT_REF_PROTECTED": "true", "PULUMI_CONFIG_PASSPHRASE": "correct horse"})


@pytest.mark.parametrize("protected", [{}, {"CI_COMMIT_REF_PROTECTED": "false"}])
@pytest.mark.parametrize("name", CREDENTIALS)
def test_any_credential_in_a_job_of_an_unprotected_branch_is_refused_by_name(
    name: str, protected: dict[str, str]
) -> None:
    with pytest.raises(ExposedError, match=name) as refused:
        is_live({**protected, name: "hunter2hunter2"})
    assert "hunter2" not in str(refused.value)
