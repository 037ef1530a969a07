import re

import pytest

from compress.config.devices import load_device
from compress.config.devices.template import write_template
from compress.config.yaml_lines import parse
from compress.core.errors import DeviceError

FILLED = {
    "title": "Board 9, one core at 2 GHz", "value": 2.0, "source": "Board 9 data sheet, page 4", "url": "https://example.org",
}  # fmt: skip


def filled(text):
    """What a user would do: something in every marked place."""
    lines = []
    for line in text.splitlines():
        key = line.strip().partition(":")[0]
        number = "2.0" if key == "value" else str(FILLED.get(key, "Board 9 data sheet"))
        lines.append(line if line.lstrip().startswith("#") else re.sub(r"<[^>]*>", number, line))
    return "\n".join(lines)


def test_a_new_profile_is_one_that_loads_when_it_is_filled_in(tmp_path):
    path = write_template("my_board", tmp_path / "devices")
    assert path == tmp_path / "devices" / "my_board.yaml"
    path.write_text(filled(path.read_text()))
    device = load_device("my_board", tmp_path)
    assert device.name == "my_board"
    assert device.peaks.fp32_gflops.value == 2.0
    assert device.efficiency.error_factor > 1


def test_left_as_it_is_it_does_not_load_and_the_line_is_told(tmp_path):
    path = write_template("my_board", tmp_path / "devices")
    with pytest.raises(DeviceError, match=r"line \d+: peaks.fp32_gflops"):
        load_device("my_board", tmp_path)
    assert parse(path.read_text(), "test").tree["name"] == "my_board"


@pytest.mark.parametrize("name", ["", "My_Board", "my-board", "../board", "a b", "board.yaml"])
def test_a_name_that_cannot_be_used_is_refused(name, tmp_path):
    with pytest.raises(DeviceError, match="lower-case letters, digits and underscores"):
        write_template(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["host", "jetson", "mobile_cpu"])
def test_a_name_or_alias_that_is_taken_is_refused(name, tmp_path):
    with pytest.raises(DeviceError, match="already names the profile"):
        write_template(name, tmp_path)


def test_a_file_that_exists_is_left_alone(tmp_path):
    path = tmp_path / "my_board.yaml"
    path.write_text("mine\n")
    with pytest.raises(DeviceError, match="was not changed"):
        write_template("my_board", tmp_path)
    assert path.read_text() == "mine\n"
