from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.core.errors import DeviceError
from compress.profile.power.jetson_ina3221 import INPUTS, MODULES, board_rails
from compress.profile.power.jetson_tegrastats import Tegrastats, parse

ORIN = (
    "11-21-2025 08:49:48 RAM 2448/7620MB (lfb 1x4MB) SWAP 0/3810MB (cached 0MB) CPU [9%@729,off,8%@729] GR3D_FREQ 0%@[0] "
    "cpu@48.2C tj@50.1C VDD_IN 4568mW/4571mW VDD_CPU_GPU_CV 481mW/480mW VDD_SOC 1443mW/1440mW"
)


def test_lines_of_tegrastats_are_understood():
    assert parse(ORIN) == pytest.approx({"VDD_IN": 4.568, "VDD_CPU_GPU_CV": 0.481, "VDD_SOC": 1.443})
    older = "RAM 1/2MB IRAM 0/252kB(lfb 252kB) CPU [1%@102] POM_5V_IN 2340/2341 POM_5V_GPU 80/82 POM_5V_CPU 3/4"
    assert parse(older) == pytest.approx({"POM_5V_IN": 2.34, "POM_5V_GPU": 0.08, "POM_5V_CPU": 0.003})
    xavier = "GPU 0/0 CPU 1102/1101 SOC 1102/1102 CV 0/0 VDDRQ 367/367 SYS5V 1489/1489"
    assert len(board_rails(parse(xavier))) == 6
    assert parse("RAM 2448/7620MB (lfb 1x4MB) EMC_FREQ 0%") == {}


@pytest.fixture
def tegrastats(tmp_path: Path) -> Iterator[Tegrastats]:
    made: list[Tegrastats] = []

    def make(script: str) -> Tegrastats:
        path = tmp_path / f"tegrastats{len(made)}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        made.append(Tegrastats(str(path)))
        return made[-1]

    yield make
    for sensor in made:
        sensor.stop()


def test_tegrastats_is_read_while_it_runs(tegrastats):
    sensor = tegrastats(f"while true; do echo '{ORIN}'; sleep 0.05; done")
    assert sensor.available() is None
    sensor.start()
    assert sensor.read() == pytest.approx(4.568)
    assert "VDD_IN" in sensor.measures()
    process = sensor._process
    sensor.stop()
    assert process.poll() is not None


def test_tegrastats_that_ends_or_tells_nothing_is_said(tegrastats, monkeypatch):
    assert "`nowhere` is not on PATH" in (Tegrastats("nowhere").available() or "")
    assert "printed no rails" in (tegrastats("echo RAM 1/2MB").available() or "")
    assert "none of which supplies the whole board" in (tegrastats("echo VDD_SOC 5mW/5mW; sleep 5").available() or "")
    sensor = tegrastats(f"echo '{ORIN}'; read stopped; exit 3")
    sensor.start()
    sensor._process.wait(10)  # no terminal to read from: it ends
    with pytest.raises(DeviceError, match="ended with"):
        sensor.read()


NAMES = st.sampled_from(sorted({*INPUTS, *(name for module in MODULES for name in module), "VDD_SOC", "POM_5V_GPU"}))


@given(st.dictionaries(NAMES, st.integers(0, 60_000), min_size=1), st.booleans())
def test_every_rail_of_a_line_is_read_with_and_without_its_unit(milliwatts, with_unit):
    unit = "mW" if with_unit else ""
    printed = " ".join(f"{name} {value}{unit}/{value + 7}{unit}" for name, value in milliwatts.items())
    watts = parse(f"RAM 2448/7620MB (lfb 1x4MB) CPU [9%@729,off] GR3D_FREQ 0% {printed}\n")
    assert watts == pytest.approx({name: value / 1000 for name, value in milliwatts.items()})
