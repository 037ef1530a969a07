import pytest

from compress.core.progress import NullReporter, Reporter


def run(reporter: Reporter) -> int:
    """Report as a stage does."""
    steps = 0
    with reporter.bar("train", 3) as bar:
        for _ in range(3):
            bar.advance(1, note="loss 0.5")
            steps += 1
    reporter.line("done")
    return steps


def test_the_silent_reporter_has_the_interface_and_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(NullReporter()) == 3
    assert capfd.readouterr() == ("", "")


def test_an_error_inside_a_bar_passes() -> None:
    with pytest.raises(ZeroDivisionError), NullReporter().bar("train", 1):
        raise ZeroDivisionError
