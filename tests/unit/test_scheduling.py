"""How the suite is distributed over its workers."""

from __future__ import annotations

from tests.pages import REPOSITORY
from tests.scheduling import LONGEST, TOGETHER, rank, scope

VERIFY = "tests/rehearsal/verify/test_verify.py::test_one", "tests/rehearsal/verify/test_status.py::test_two"


def test_every_path_that_is_named_exists() -> None:
    assert [one for one in (*TOGETHER, *LONGEST) if not (REPOSITORY / one).exists()] == []


def test_tests_that_share_a_system_or_a_file_share_a_worker() -> None:
    assert len({scope(nodeid) for nodeid in VERIFY}) == 1
    assert scope("tests/unit/test_a.py::test_one") == scope("tests/unit/test_a.py::test_two[a::b]")
    assert scope("tests/unit/test_a.py::test_one") != scope("tests/unit/test_b.py::test_one")


def test_the_longest_come_first_and_all_others_keep_their_order() -> None:
    others = ["tests/rehearsal/test_port.py::test_b", "tests/contract/test_connect.py::test_a"]
    assert sorted([*others, *VERIFY], key=rank) == [*VERIFY, *others]


def test_package_fixtures_end_with_their_folder() -> None:
    """If the folder is not a package, pytest silently keeps a fixture of this scope for the whole session."""
    made = [path for path in (REPOSITORY / "tests").rglob("conftest.py") if 'scope="package"' in path.read_text()]
    assert made
    assert [str(path) for path in made if not path.with_name("__init__.py").exists()] == []
