"""Waterfalls."""

import pytest

from compress.core.run_record import RunRecord
from compress.pipeline.report.figures.waterfall import waterfall
from tests.pipeline.report.pages import of_perplexity, without_curves


@pytest.mark.parametrize("name", ["accuracy", "size_bytes", "latency_ms"])
def test_every_stage_that_changed_the_network_has_a_bar(record: RunRecord, name: str) -> None:
    picture = waterfall(record, name)
    assert picture is not None
    for title in ("teacher", "distill", "prune", "quantize", "artifact"):
        assert f">{title}<" in picture.svg
    assert ">export<" not in picture.svg


def test_losses_and_gains_differ_in_colour_by_the_direction_of_the_quantity(record: RunRecord) -> None:
    accuracy, size = (waterfall(record, name) for name in ("accuracy", "size_bytes"))
    assert accuracy is not None
    assert size is not None
    assert (accuracy.svg.count('class="full c1"'), accuracy.svg.count('class="full c2"')) == (3, 0)
    assert (size.svg.count('class="full c1"'), size.svg.count('class="full c2"')) == (0, 3)
    risen = waterfall(of_perplexity(record), "perplexity")
    assert risen is not None
    assert risen.svg.count('class="full c2"') == 3  # the same numbers, where lower is better


def test_a_run_without_stages_has_none(record: RunRecord) -> None:
    assert waterfall(without_curves(record).model_copy(update={"stages": ()}), "size_bytes") is None
