"""Budgets in files of their own."""

from pathlib import Path

import pytest

from compress.core.errors import RecipeError, StoreError
from compress.pipeline.review.budget_file import read_budget


@pytest.mark.parametrize(
    "text", ["size_mb: 2\nconfidence: interval\n", "name: recipe\nbudget:\n  size_mb: 2\n  confidence: interval\n"]
)
def test_a_budget_is_read_with_or_without_its_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "budget.yaml"
    path.write_text(text)
    budget = read_budget(path)
    assert (budget.size_mb, budget.confidence) == (2.0, "interval")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budget:\n  size_mb: 0\n", "line 2"),
        ("budget: 3\n", "must be a mapping of limits"),
        ("confidence: interval\n", "at least one limit"),
        ("- 1\n", "a budget is a mapping"),
        ("size_mb: [\n", "line"),
        ("", "empty"),
    ],
)
def test_what_is_no_budget_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "budget.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_budget(path)


def test_a_budget_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot read the budget"):
        read_budget(tmp_path / "none.yaml")
