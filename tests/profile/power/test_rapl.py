from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.profile.power.rapl import Rapl
from tests.profile.power.sysfs import write

LIMIT = 1_000_000


def package(root: Path, number: int = 0, energy: int = 0) -> Path:
    folder = root / f"intel-rapl:{number}"
    write(folder / "max_energy_range_uj", LIMIT - 1)
    (root / f"intel-rapl:{number}:0").mkdir()  # a part of the package; counting it too would count twice
    return write(folder / "energy_uj", energy)


def test_rapl_says_why_it_is_missing(tmp_path, monkeypatch):
    assert "does not exist" in (Rapl(tmp_path / "none").available() or "")
    assert "no intel-rapl package" in (Rapl(tmp_path).available() or "")
    package(tmp_path)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "not readable by this user" in (Rapl(tmp_path).available() or "")


def test_rapl_adds_packages_and_survives_a_wrap_around(tmp_path):
    files = [package(tmp_path, 0, LIMIT - 100), package(tmp_path, 1, 50)]
    sensor = Rapl(tmp_path)
    assert sensor.available() is None
    assert sensor.measures().startswith("2 processor packages")
    sensor.start()
    write(files[0], 400)
    assert sensor.read() == pytest.approx(500e-6)
    write(files[1], 150)
    assert sensor.read() == pytest.approx(600e-6)


@settings(max_examples=30)
@given(st.integers(0, LIMIT - 1), st.lists(st.integers(0, LIMIT - 1), min_size=1, max_size=20))
def test_joules_are_the_sum_of_the_increments_wherever_the_counter_wraps(tmp_path_factory, first, increments):
    """Reference: a counter that never wraps."""
    root = tmp_path_factory.mktemp("powercap")
    counter = package(root, energy=first)
    sensor = Rapl(root)
    assert sensor.available() is None
    sensor.start()
    total = first
    for increment in increments:
        total += increment
        write(counter, total % LIMIT)
        assert sensor.read() == pytest.approx((total - first) * 1e-6)
    sensor.start()
    assert sensor.read() == 0.0


def test_a_counter_that_is_no_number_is_an_error(tmp_path):
    counter = package(tmp_path)
    sensor = Rapl(tmp_path)
    assert sensor.available() is None
    sensor.start()
    write(counter, "nonsense")
    with pytest.raises(ValueError, match="invalid literal"):
        sensor.read()
