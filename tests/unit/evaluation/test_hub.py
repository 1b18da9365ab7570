import pytest

from desta.errors import ConfigError, DataError
from desta.evaluation.hub import fetch


def test_a_branch_is_no_revision() -> None:
    with pytest.raises(ConfigError, match='"main" of a/b is not a commit'):
        fetch("a/b", "main", ["*"])


@pytest.mark.parametrize("name", ["a/b", "no name/at all"])
def test_what_cannot_be_fetched_is_one_sentence(name: str) -> None:
    with pytest.raises(DataError, match=f"{name} at 0+ cannot be fetched"):  # tests are offline
        fetch(name, "0" * 40, ["*"])
