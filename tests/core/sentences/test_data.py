import pytest

from compress.core.fact import Fact
from compress.core.sentences import render, render_subject


@pytest.mark.parametrize(("suffix", "named"), [(".txt", ".txt"), ("", "no suffix")])
def test_a_file_of_another_kind_is_named_by_its_suffix(suffix: str, named: str) -> None:
    assert render(Fact.of("data.not_an_image_file", "a", suffix=suffix)) == f"{named}: not a supported image format"


def test_files_that_are_not_listed_are_counted() -> None:
    assert render_subject(Fact.of("data.more_files_skipped", files=12)) == "12 more files"
    assert render_subject(Fact.of("data.frames_skipped", "a.gif", files=2)) == "further frames of 2 files (for example a.gif)"


def test_a_normalisation_that_is_not_known_gives_the_values_of_the_loaders() -> None:
    fact = Fact.of("data.normalised_by_unknown_values", low=-2.118, high=2.64, mean=(0.0,), std=(1.0,))
    assert "from -2.12 to 2.64" in render(fact)


def test_pixels_that_differ_are_given_in_levels_with_the_file() -> None:
    text = render(Fact.of("data.loader_pixels_differ", "cat/1.png", levels=12.5))
    assert "the pixels of cat/1.png in infer.py and in the test loader differ (by up to 12.5 of 255 levels)" in text
