"""What a stack file may say of the app."""

from __future__ import annotations

import pytest

from tests.unit.stack_files import refusal_of


def test_a_variable_that_the_program_sets_itself_is_refused() -> None:
    message = refusal_of("app.environment", {"NODE_ENV": "test"})
    assert "invoicetron:app.environment.NODE_ENV" in message
    assert "the program sets these itself" in message


@pytest.mark.parametrize("name", ["1ST", "LOG-LEVEL", "A=B", ""])
def test_a_name_that_no_environment_variable_has_is_refused(name: str) -> None:
    assert "the name of an environment variable" in refusal_of("app.environment", {name: "x"})
