"""Figures of a report."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.report import figures
from compress.pipeline.report.figures import draw
from compress.pipeline.report.tables import final_metrics
from tests.pipeline.report.pages import of_perplexity, without_curves


def test_pictures_are_drawn_and_differ(written: tuple[Path, ...]) -> None:
    pictures = [path for path in written if path.suffix == ".png"]
    for path in pictures:
        with Image.open(path) as image:
            assert min(image.size) > 200
            assert np.asarray(image.convert("L")).std() > 5
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures}) == len(pictures)


def test_ratios_are_drawn_where_one_differs_from_1(record: RunRecord) -> None:
    plain = without_curves(record)
    equal = plain.model_copy(update={"teacher": None, "start": final_metrics(plain)})
    assert "before_after" in {picture.name for picture in draw(plain)}
    assert "before_after" not in {picture.name for picture in draw(equal)}


def test_a_limit_of_the_budget_is_drawn(record: RunRecord) -> None:
    record = without_curves(record)
    without = record.model_copy(update={"recipe": {}})
    drawn, plain = ({picture.name: picture.png for picture in draw(each)} for each in (record, without))
    changed = {name for name in drawn if drawn[name] != plain[name]}
    assert changed == {"accuracy_size", "accuracy_latency", "latency"}


def test_an_estimate_is_drawn_unlike_a_measurement(record: RunRecord) -> None:
    record = without_curves(record)
    profile = record.stages[4]

    def as_measured(quantity: Quantity) -> Quantity:
        return quantity.model_copy(update={"how": "measured"}) if quantity.how == "estimated" else quantity

    rows = tuple(
        row.model_copy(update={"quantities": {name: as_measured(found) for name, found in row.quantities.items()}})
        for row in profile.benchmark_rows
    )
    other = record.model_copy(update={"stages": (*record.stages[:4], profile.model_copy(update={"benchmark_rows": rows}))})
    before, after = (next(p.png for p in draw(each) if p.name == "latency") for each in (record, other))
    difference = np.asarray(Image.open(io.BytesIO(before)).convert("L"), float) - np.asarray(
        Image.open(io.BytesIO(after)).convert("L"), float
    )
    assert np.abs(difference).max() > 50


def test_axes_have_better_values_upwards_and_the_unit_of_the_metric(record: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    axes: dict[str, tuple[str, bool]] = {}

    def note(figure: Figure) -> bytes:
        first = figure.axes[0]
        axes[first.get_xlabel()] = first.get_ylabel(), first.yaxis_inverted()
        return b""

    monkeypatch.setattr(figures, "to_png", note)
    for each, expected in (
        (record, ("test accuracy (%)", False)),
        (of_perplexity(record), ("test perplexity", True)),
    ):
        draw(without_curves(each))
        assert axes["size of the ONNX file (MB)"] == axes["latency on the host (ms)"] == expected
