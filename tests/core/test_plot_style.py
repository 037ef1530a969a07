import io

import pytest
from PIL import Image

from compress.core.plot_style import (
    error_bar,
    escape_text,
    new_figure,
    safe_file_name,
    scale_x,
    separate_labels,
    three_digits,
    to_png,
)
from compress.core.record import Quantity


def test_a_png_has_its_description_and_size() -> None:
    with Image.open(io.BytesIO(to_png(new_figure(2, 1), "loss over epochs"))) as image:
        assert image.size == (288, 144)
        assert image.info["Description"] == "loss over epochs"
        assert "Software" not in image.info


@pytest.mark.parametrize(
    ("values", "scale"), [([1.0, 4.9], "linear"), ([1.0, 5.0], "log"), ([0.0, -1.0], "linear"), ([], "linear")]
)
def test_the_axis_is_logarithmic_from_a_factor_of_five(values: list[float], scale: str) -> None:
    axes = new_figure(2, 2).add_subplot()
    scale_x(axes, values)
    assert axes.get_xscale() == scale


def test_labels_move_until_none_overlaps() -> None:
    figure = new_figure(3, 3)
    axes = figure.add_subplot()
    labels = [
        axes.annotate(f"label {index}", (0.5, 0.5), (0, 4), textcoords="offset points", va="bottom") for index in range(4)
    ]
    separate_labels(figure, labels)
    boxes = [label.get_window_extent() for label in labels]
    assert not any(box.overlaps(other) for index, box in enumerate(boxes) for other in boxes[:index])


def test_text_is_no_formula_and_short() -> None:
    assert escape_text("_a $x$\nb") == r"a \$x\$ b"
    assert len(escape_text("y" * 100)) == 60


def test_error_bars_reach_to_the_interval() -> None:
    assert error_bar(Quantity.measured(2.0, "ms", interval=(1.5, 3.0)), 10) == ([5.0], [10.0])
    assert error_bar(Quantity.measured(2.0, "ms"), 10) == ([0.0], [0.0])


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1,234"), (12.345, "12.3"), (0.012345, "0.0123")])
def test_three_significant_digits(value: float, text: str) -> None:
    assert three_digits(value) == text


def test_file_names_are_safe() -> None:
    assert safe_file_name("../a b") == "_a_b"
    assert safe_file_name("") == "stage"
