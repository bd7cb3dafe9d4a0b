"""How the suite is dealt out to its workers."""

from __future__ import annotations

from tests.pages import REPOSITORY
from tests.scheduling import LONGEST, TOGETHER, rank, scope

VERIFY = "tests/rehearsal/verify/test_verify.py::test_one", "tests/rehearsal/verify/test_status.py::test_two"


def test_what_is_named_is_there() -> None:
    assert [one for one in (*TOGETHER, *LONGEST) if not (REPOSITORY / one).exists()] == []


def test_what_shares_a_system_is_one_worker_s_and_else_a_file_is() -> None:
    assert len({scope(nodeid) for nodeid in VERIFY}) == 1
    assert scope("tests/unit/test_a.py::test_one") == scope("tests/unit/test_a.py::test_two[a::b]")
    assert scope("tests/unit/test_a.py::test_one") != scope("tests/unit/test_b.py::test_one")


def test_the_longest_begin_and_all_others_stay_in_their_order() -> None:
    others = ["tests/rehearsal/test_port.py::test_b", "tests/contract/test_connect.py::test_a"]
    assert sorted([*others, *VERIFY], key=rank) == [*VERIFY, *others]


def test_what_is_made_for_a_folder_ends_with_it() -> None:
    """Where the folder is no package, pytest keeps a fixture of this scope for the whole session, and says nothing."""
    made = [path for path in (REPOSITORY / "tests").rglob("conftest.py") if 'scope="package"' in path.read_text()]
    assert made
    assert [str(path) for path in made if not path.with_name("__init__.py").exists()] == []
