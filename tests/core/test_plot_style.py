import io

from PIL import Image

from compress.core.plot_style import (
    error_bar,
    escape_text,
    new_figure,
    to_png,
)
from compress.core.record import Quantity


def test_a_png_has_its_description_and_size() -> None:
    with Image.open(io.BytesIO(to_png(new_figure(2, 1), "loss over epochs"))) as image:
        assert image.size == (288, 144)
        assert image.info["Description"] == "loss over epochs"
        assert "Software" not in image.info


def test_text_is_no_formula_and_short() -> None:
    assert escape_text("_a $x$\nb") == r"a \$x\$ b"
    assert len(escape_text("y" * 100)) == 60


def test_error_bars_reach_to_the_interval() -> None:
    assert error_bar(Quantity.measured(2.0, "ms", interval=(1.5, 3.0)), 10) == ([5.0], [10.0])
    assert error_bar(Quantity.measured(2.0, "ms"), 10) == ([0.0], [0.0])
