import pytest
from pydantic import ValidationError

from compress.config.devices import load_device
from compress.config.devices.profile_schema import UNITS, Device, Efficiency, MeasurementProtocol, Peaks, SourcedValue


def value(number: float = 1.0, unit: str = "GFLOP/s") -> SourcedValue:
    return SourcedValue(value=number, unit=unit, source="a data sheet")


def described(**changes: object) -> dict[str, object]:
    """A shipped profile of a device out of reach, changed."""
    return load_device("jetson_orin_nano").model_dump() | changes


@pytest.mark.parametrize("name", UNITS)
def test_a_peak_is_kept_in_its_own_unit_only(name):
    assert getattr(Peaks(**{name: value(2.0, UNITS[name])}), name).value == 2.0
    with pytest.raises(ValidationError, match=f"{name} needs unit {UNITS[name]}, got 'KB'; convert"):
        Peaks(**{name: value(2.0, "KB")})


@pytest.mark.parametrize(("number", "unit"), [(1.01, "fraction"), (0.5, "percent")])
@pytest.mark.parametrize("field", ["dense", "depthwise", "bandwidth"])
def test_an_efficiency_is_a_fraction(field, number, unit):
    fractions = dict.fromkeys(("dense", "depthwise", "bandwidth"), value(1.0, "fraction"))
    rest = {"overhead_us": value(5.0, "us"), "error_factor": 2.0}
    assert Efficiency(**fractions, **rest).dense.value == 1.0
    with pytest.raises(ValidationError, match="a fraction in"):
        Efficiency(**fractions | {field: value(number, unit)}, **rest)


@pytest.mark.parametrize("number", [0.0, 1e-10, 1e19, float("nan"), float("inf")])
def test_a_figure_is_a_number_that_hardware_can_have(number):
    with pytest.raises(ValidationError):
        value(number)


def test_a_figure_names_its_source():
    with pytest.raises(ValidationError, match="at least 10 characters"):
        SourcedValue(value=1.0, unit="W", source="me")


def test_a_device_out_of_reach_needs_what_an_estimate_needs_and_one_at_hand_does_not():
    bare = {"peaks": {}, "efficiency": None}
    with pytest.raises(ValidationError, match=r"peaks\.fp32_gflops, .*, peaks\.memory_bytes, efficiency"):
        Device.model_validate(described(connection=None, **bare))
    assert Device.model_validate(described(connection="local", **bare)).peaks == Peaks()


@pytest.mark.parametrize("name", ["openvino", "tensorrt", "onnxruntime:cuda", "onnxruntime:qnn"])
def test_runtimes_may_name_an_execution_provider_of_onnx_runtime(name):
    assert Device.model_validate(described(runtimes=[name])).runtimes == (name,)


@pytest.mark.parametrize("name", ["openvno", "openvino:cuda", "onnxruntime:", "onnxruntime:CUDA"])
def test_other_runtimes_are_refused(name):
    with pytest.raises(ValidationError, match="is not a runtime"):
        Device.model_validate(described(runtimes=[name]))


@pytest.mark.parametrize("changes", [{"seconds": 0.0}, {"percentiles": [100.0]}, {"arrivals_per_s": 0.1}, {"batch": 0}])
def test_a_protocol_that_cannot_be_followed_is_refused(changes):
    with pytest.raises(ValidationError):
        MeasurementProtocol(**changes)


def test_no_device_takes_the_folder_of_the_torch_network():
    with pytest.raises(ValidationError, match="artifacts/torch holds the torch network"):
        Device.model_validate(described(name="torch"))
