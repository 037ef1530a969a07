import pytest

from compress.config.recipe import loads
from compress.config.renamed_keys import RENAMED, find_renamed, new_name
from compress.core.errors import RecipeError
from compress.core.registry import names
from tests.config.small_recipe import SMALL

OLD_STAGES = {row.old: row.new for row in RENAMED if row.where == "stages"}


@pytest.mark.parametrize(("old", "new"), OLD_STAGES.items())
@pytest.mark.parametrize("form", ["  - {}\n", "  - {}: {{}}\n", "  - {}:\n"])
def test_a_stage_by_its_old_name_is_refused_with_the_new_one(old: str, new: str, form: str) -> None:
    text = SMALL + form.format(old)
    with pytest.raises(RecipeError) as caught:
        loads(text)
    (fault,) = caught.value.faults
    assert fault.message == f"`{old}` is now called `{new}`"
    assert fault.line == text.count("\n")


def test_the_new_names_exist() -> None:
    assert set(OLD_STAGES.values()) <= set(names("stage"))


def test_a_change_by_the_old_name_is_refused_with_the_new_one() -> None:
    with pytest.raises(RecipeError, match="`adapt` is now called `substitute`"):
        loads(SMALL, overrides=["stages.adapt.images=4"])


def test_a_word_counts_only_at_its_place() -> None:
    assert new_name(("stages", 3), "adapt") == "substitute"
    assert new_name(("data",), "adapt") is None
    assert list(find_renamed({"name": "adapt", "data": {"adapt": 1}})) == []
