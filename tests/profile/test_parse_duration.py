import pytest

from compress.core.errors import DeviceError
from compress.profile.parse_duration import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("90s", 90), ("1h", 3600), ("1h30m", 5400), ("90", 90), (" 1.5 M ", 90)]
)
def test_lengths_of_time_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "m", "10x", "5m3", "-5s", "ten minutes", "inf", "1e3s"])
def test_other_lengths_are_refused(text):
    with pytest.raises(DeviceError, match="write 90s, 10m, 1h"):
        parse_duration(text)
