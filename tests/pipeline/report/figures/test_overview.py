"""Pictures of the whole run."""

import pytest

from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.report.figures.overview import budget_limit, metric_against, network_points, reduction_factors
from tests.pipeline.report.pages import of_perplexity, without_curves


def test_the_points_are_the_networks_of_the_run_and_the_last_is_the_artifact(record: RunRecord) -> None:
    names = [point.name for point in network_points(record, "latency_ms")]
    assert names == ["teacher", "student alone", "after distill", "after prune", "artifact"]
    assert {point.style for point in network_points(record, "latency_ms") if point.name.startswith(("after", "art"))} == {
        "chain artifact"
    }


def test_a_network_without_a_value_has_no_point(record: RunRecord) -> None:
    prune = record.stages[1]
    missing = prune.model_copy(update={"after": prune.after | {"accuracy": Quantity.missing("fraction", "no labels")}})
    without = record.model_copy(update={"stages": (record.stages[0], missing, *record.stages[2:])})
    assert "after prune" not in [point.name for point in network_points(without, "size_bytes")]


def test_the_limit_of_the_metric_follows_from_the_loss_that_the_budget_allows(record: RunRecord) -> None:
    picture = metric_against(record, "latency_ms", "front")
    assert picture is not None
    assert "limit 96.96<" in picture.svg  # 97.96 % of the teacher less one point
    assert "limit 1<" in picture.svg
    perplexity = metric_against(of_perplexity(record), "latency_ms", "front")
    assert perplexity is not None
    assert "lower is better" in perplexity.caption


def test_one_network_alone_has_no_picture(record: RunRecord) -> None:
    alone = without_curves(record).model_copy(update={"stages": record.stages[:0]})
    assert metric_against(alone, "latency_ms", "front") is None


def test_a_network_that_grew_is_drawn_as_worse(record: RunRecord) -> None:
    last = record.stages[-1]
    grown = last.model_copy(update={"after": last.after | {"size_bytes": Quantity.measured(1e9, "bytes", "ONNX file on disk")}})
    picture = reduction_factors(record.model_copy(update={"stages": (*record.stages[:-1], grown)}))
    assert picture is not None
    assert "worse" in picture.svg
    assert "size ÷ 0.0943" in picture.alternative


@pytest.mark.parametrize(
    ("name", "device", "limit"), [("size_mb", "", 1.0), ("latency_ms", "host", 1.0), ("latency_ms", "tv", None)]
)
def test_limits_of_the_recipe(record: RunRecord, name: str, device: str, limit: float | None) -> None:
    assert budget_limit(record, name, device) == limit
    assert budget_limit(record.model_copy(update={"recipe": {}}), name, device) is None
