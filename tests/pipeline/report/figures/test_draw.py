"""Pictures of a report."""

import re
from xml.etree import ElementTree as ET

from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.report.figures.draw import draw
from compress.pipeline.report.tables import final_metrics
from tests.pipeline.report.pages import malicious, of_perplexity, without_curves

SVG = "{http://www.w3.org/2000/svg}"


def test_every_picture_is_a_whole_svg_with_text_and_an_alternative(record: RunRecord) -> None:
    pictures = draw(record)
    assert len({picture.content for picture in pictures}) == len(pictures)
    for picture in pictures:
        root = ET.fromstring(picture.content)  # noqa: S314  # its own drawing
        assert root.get("aria-label")
        assert root.get("role") == "img"
        assert len(picture.alternative) > 20
        assert [element.text for element in root.iter(f"{SVG}text")]
        assert len(picture.content) < 16_000


def test_the_pictures_are_in_the_order_of_the_report(record: RunRecord) -> None:
    names = [picture.name for picture in draw(record)]
    assert names[:3] == ["accuracy_latency", "before_after", "accuracy_size"]
    assert names[3:7] == ["waterfall_accuracy", "waterfall_size_bytes", "waterfall_latency_ms", "latency"]


def test_ratios_are_drawn_where_one_differs_from_1(record: RunRecord) -> None:
    plain = without_curves(record)
    equal = plain.model_copy(update={"teacher": None, "start": final_metrics(plain)})
    assert "before_after" in {picture.name for picture in draw(plain)}
    assert "before_after" not in {picture.name for picture in draw(equal)}


def test_a_limit_of_the_budget_is_drawn(record: RunRecord) -> None:
    record = without_curves(record)
    without = record.model_copy(update={"recipe": {}})
    drawn, plain = ({picture.name: picture.svg for picture in draw(each)} for each in (record, without))
    changed = {name for name in drawn if drawn[name] != plain[name]}
    assert changed == {"accuracy_size", "accuracy_latency", "latency"}


def test_an_estimate_is_drawn_unlike_a_measurement(record: RunRecord) -> None:
    record = without_curves(record)
    profile = record.stages[4]

    def as_measured(quantity: Quantity) -> Quantity:
        return quantity.model_copy(update={"how": "measured"}) if quantity.how == "estimated" else quantity

    rows = tuple(
        row.model_copy(update={"quantities": {name: as_measured(each) for name, each in row.quantities.items()}})
        for row in profile.benchmark_rows
    )
    other = record.model_copy(update={"stages": (*record.stages[:4], profile.model_copy(update={"benchmark_rows": rows}))})
    before, after = (next(p.svg for p in draw(each) if p.name == "latency") for each in (record, other))
    assert len(re.findall('class="hollow (?:teacher|student|artifact)"', before)) == 9
    assert "hollow" not in after


def test_axes_have_better_values_upwards_and_the_unit_of_the_metric(record: RunRecord) -> None:
    for each, name, label in (
        (record, "accuracy_size", "test accuracy (%)"),
        (of_perplexity(record), "perplexity_size", "test perplexity"),
    ):
        picture = next(picture for picture in draw(without_curves(each)) if picture.name == name)
        assert label in picture.svg
        ticks = re.findall(r'<text x="56" y="([\d.]+)" class="tick" text-anchor="end">([\d.,]+)<', picture.svg)
        heights = [float(height) for height, value in sorted(ticks, key=lambda tick: float(tick[1].replace(",", "")))]
        assert heights == sorted(heights, reverse=name.startswith("accuracy"))


def test_hostile_names_stay_text(record: RunRecord) -> None:
    for picture in draw(malicious(record)):
        root = ET.fromstring(picture.content)  # noqa: S314  # its own drawing
        assert not {element.tag for element in root.iter()} - {f"{SVG}{tag}" for tag in TAGS}


TAGS = ("svg", "style", "rect", "line", "polyline", "circle", "text", "title")
