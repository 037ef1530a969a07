"""Tables of comparisons."""

from compress.core.run_record import RunRecord
from compress.pipeline.review.comparison_tables import METHOD, SMOKE, comparison_markdown, comparison_tables


def test_every_run_has_its_table_and_what_its_recipe_changed(example: RunRecord) -> None:
    other = example.model_copy(update={"recipe": {**example.recipe, "seed": 1}})
    tables = comparison_tables(example, [example, other])
    assert len(tables) == 3
    assert all(len(row) == len(table.header) for table in tables for row in table.rows)
    assert [cell.text for cell in tables[-1].rows[0]] == ["seed", "0", "1"]
    text = comparison_markdown(tables)
    assert "| seed | 0 | 1 |" in text
    assert METHOD in text


def test_names_with_markup_stay_text(example: RunRecord) -> None:
    evil = example.model_copy(update={"name": "<b>|*x*\x1b[31m", "recipe": {**example.recipe, "seed": "<img>"}})
    text = comparison_markdown(comparison_tables(example, [evil]))
    assert "<b>" not in text
    assert "<img>" not in text


def test_a_comparison_with_a_smoke_run_says_so(example: RunRecord) -> None:
    smoke = example.model_copy(update={"smoke": True})
    for baseline, run in ((example, smoke), (smoke, example)):
        text = comparison_markdown(comparison_tables(baseline, [run]))
        assert SMOKE in text
        assert "a smoke run" in text
    assert SMOKE not in comparison_markdown(comparison_tables(example, [example]))
