import pytest

from compress.config.devices import host
from compress.core.errors import DeviceError, StoreError
from compress.profile.cost_model import calibration_file as calibration
from compress.profile.cost_model.calibration_file import Accuracy, Calibration, Rates


def made(**changed):
    machine = host().hardware
    fields = {
        "device": "host", "cpu": machine.cpu, "instruction_sets": machine.instruction_sets,
        "runtime": calibration.runtime(), "threads": 1,
        "created": "2026-01-02 03:04 UTC", "seconds": 200.0,
        "rates": {"dense float": Rates(overhead_ns=1000.0, operation_ns=0.02, element_ns=0.5)},
        "accuracy": Accuracy(mean=0.07, low=0.9, high=1.2, networks=100),
    }  # fmt: skip
    return Calibration(**fields | changed)


def test_it_comes_back_as_it_was_kept(tmp_path):
    path = tmp_path / "new" / "host.json"
    calibration.save(made(), path)
    assert calibration.load(path) == made()


def test_it_is_kept_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("COMPRESS_CACHE", raising=False)
    assert calibration.default_path("host").is_relative_to(tmp_path / "xdg" / "compress")
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "own"))
    assert calibration.default_path("host").is_relative_to(tmp_path / "own")
    assert calibration.default_path("host", 1) != calibration.default_path("host", 2)
    assert calibration.find_file("host") is None
    calibration.save(made(), calibration.default_path("host"))
    assert calibration.find_file("host") == calibration.default_path("host")
    assert calibration.find_file("host", 2) is None


def test_it_holds_where_it_was_made():
    assert calibration.mismatch_reason(made(), calibration.this_processor(host().hardware)) is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cpu": "Another 9000"}, "made with CPU Another 9000; now it is"),
        ({"instruction_sets": ("avx2",)}, "made with instruction sets avx2; now it is"),
        ({"runtime": "onnxruntime 1.0.0"}, "made with runtime onnxruntime 1.0.0; now it is onnxruntime"),
        ({"threads": 4}, "made with threads 4; now it is 1"),
        ({"format": 0}, "format 0"),
    ],
)
def test_it_holds_nowhere_else(changed, said):
    assert said in calibration.mismatch_reason(made(**changed), calibration.this_processor(host().hardware))


def test_it_says_nothing_about_a_device_that_is_not_here():
    assert "not this machine" in calibration.mismatch_reason(made(), None)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"device": "host"}', "no json"])
def test_a_file_that_is_none_is_told(text, tmp_path):
    path = tmp_path / "host.json"
    path.write_text(text)
    with pytest.raises(DeviceError, match="is not a calibration that this version reads; delete it"):
        calibration.load(path)


def test_negative_prices_and_binary_files_are_refused(tmp_path):
    path = tmp_path / "host.json"
    path.write_text(made().model_dump_json().replace("1000.0", "-1000.0"))
    with pytest.raises(DeviceError, match="delete it"):
        calibration.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeviceError, match="delete it"):
        calibration.load(path)


def test_a_missing_file_and_an_unwritable_place_are_told(tmp_path):
    with pytest.raises(DeviceError, match="No such file"):
        calibration.load(tmp_path / "nowhere.json")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        calibration.save(made(), tmp_path / "file" / "host.json")


def test_a_file_of_the_older_format_is_refused(tmp_path):
    path = tmp_path / "host.json"
    path.write_text(made().model_dump_json().replace('"operation_ns":0.02', '"prices_ns":{"macs":0.02}'))
    with pytest.raises(DeviceError, match="delete it"):
        calibration.load(path)
