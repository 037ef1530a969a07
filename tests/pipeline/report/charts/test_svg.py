"""Drawings as SVG."""

from xml.etree import ElementTree as ET

from compress.pipeline.report.charts.svg import Drawing, as_file, escape, text_width

SVG = "{http://www.w3.org/2000/svg}"


def test_hostile_text_is_text_in_elements_attributes_and_titles() -> None:
    evil = "<script>\"'&\x1b\x00\ufffe\ud800</script>"
    drawing = Drawing(100, 50)
    drawing.text((1, 2), evil * 5)
    drawing.circle((1, 1), 2, "full", evil)
    drawing.rectangle((1, 1), -3, 2, "full", evil)
    root = ET.fromstring(drawing.render(evil))  # noqa: S314  # its own drawing
    assert {element.tag for element in root.iter()} == {f"{SVG}{tag}" for tag in ("svg", "text", "circle", "rect", "title")}
    assert "<script>" in (root.get("aria-label") or "")
    (rectangle,) = root.iter(f"{SVG}rect")
    assert rectangle.get("width") == "0"


def test_long_text_is_cut_with_the_whole_as_title() -> None:
    drawing = Drawing(100, 50)
    drawing.text((0, 0), "y" * 100)
    (text,) = ET.fromstring(drawing.render("a")).iter(f"{SVG}text")  # noqa: S314  # its own drawing
    assert text.text is not None
    assert len(text.text) == 40
    assert text[0].text == "y" * 100


def test_a_file_has_the_style_sheet_and_a_background() -> None:
    drawing = Drawing(100, 50)
    drawing.line((0, 0), (10.25, 5), "grid")
    plain, file = drawing.render("a"), as_file(drawing.render("a"))
    assert "<style>" not in plain
    root = ET.fromstring(file)  # noqa: S314  # its own drawing
    assert [element.tag.removeprefix(SVG) for element in root] == ["style", "rect", "line"]
    assert "prefers-color-scheme: dark" in (root[0].text or "")
    assert 'x2="10.2"' in plain


def test_escaped_text_is_one_line() -> None:
    assert escape("a\n  b\t<c>") == "a b &lt;c&gt;"


def test_wide_scripts_are_wider() -> None:
    assert text_width("漢字") > text_width("ab")
