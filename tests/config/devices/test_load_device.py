import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.config.devices import Device, device_names, fingerprint, folders, host, load_device
from compress.config.devices.profile_schema import UNITS, SourcedValue
from compress.config.yaml_lines import parse
from compress.config.yaml_writer import dump
from compress.core.errors import DeviceError

SHIPPED = Path(__file__).parents[3] / "devices"
NAMES = sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def profile(**changes):
    """The shipped Jetson as a dictionary, changed."""
    found = parse((SHIPPED / "jetson_orin_nano.yaml").read_text(), "test").tree
    return found | {"name": "mine", "aliases": []} | changes


def write(base: Path, content, name="mine") -> Path:
    path = base / "devices" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else dump(content))
    return path


def figures(device: Device):
    for part in (device.peaks, device.efficiency):
        for name, value in part or ():
            if isinstance(value, SourcedValue):
                yield name, value


@pytest.mark.parametrize(
    "name",
    ["host", "mobile_cpu", "phone_midrange", "raspberry_pi_5", "jetson", "jetson_orin_nano", "jetson_orin_nano_8gb",
     "jetson_agx_orin", "jetson_xavier_nx", "desktop_gpu", "rtx_4060", "rtx_4090", "generic_gpu", "data_center_gpu"],
)  # fmt: skip
def test_the_promised_profiles_are_shipped(name):
    device = load_device(name)
    assert name in (device.name, *device.aliases)
    assert set(NAMES) <= set(device_names())


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_profile_loads_with_sources(name):
    device = load_device(name)
    assert device.name == name
    for key, figure in figures(device):
        assert figure.value > 0
        assert len(figure.source) >= 10
        assert key not in UNITS or figure.unit == UNITS[key]
        assert figure.url is None or figure.url.startswith("https://")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "host"])
def test_a_profile_of_a_device_elsewhere_can_be_estimated(name):
    device = load_device(name)
    assert device.connection is None
    assert device.efficiency.error_factor >= 2
    assert device.peaks.int8_gops.value > device.peaks.fp32_gflops.value


def test_names_and_aliases_are_unique():
    taken = [name for device in map(load_device, NAMES) for name in (device.name, *device.aliases)]
    assert len(taken) == len(set(taken))
    assert load_device("jetson").name == "jetson_orin_nano"


def test_derived_peaks_follow_from_their_parts():
    phone, jetson, card = (load_device(name).peaks for name in ("mobile_cpu", "jetson_orin_nano", "desktop_gpu"))
    assert phone.fp32_gflops.value == pytest.approx(3.3 * 4 * 4 * 2)
    assert phone.memory_bandwidth_gb_s.value == pytest.approx(4.8 * 2 * 64 / 8)
    assert jetson.fp32_gflops.value == pytest.approx(1024 * 1.02 * 2, rel=1e-3)
    assert card.fp32_gflops.value == pytest.approx(3072 * 2.46 * 2, rel=1e-3)
    assert card.memory_bandwidth_gb_s.value == pytest.approx(128 * 17 / 8)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "host"])
def test_figures_of_one_device_agree_with_each_other(name):
    peaks = load_device(name).peaks
    assert peaks.fp32_gflops.value < peaks.fp16_gflops.value < peaks.int8_gops.value
    assert 1 <= peaks.fp32_gflops.value / peaks.memory_bandwidth_gb_s.value <= 150
    assert peaks.memory_bytes.value % 2**30 == 0
    assert ("jetson" in name) == ("ina3221" in load_device(name).contract.sensors)


def test_this_machine_is_detected():
    device = host()
    assert device.connection == "local"
    assert device.hardware.cores >= 1
    assert device.peaks.memory_bytes.value == device.hardware.memory_bytes
    assert device.hardware.cpu in device.title


def test_the_users_own_profile_comes_first_and_a_path_works(tmp_path):
    path = write(tmp_path, profile(title="Mine"))
    assert load_device("mine", tmp_path).title == "Mine"
    assert load_device("devices/mine.yaml", tmp_path).title == "Mine"
    assert load_device(str(path)).title == "Mine"
    assert "mine" in device_names(tmp_path)
    write(tmp_path, profile(name="desktop_gpu", title="Another card"), "desktop_gpu")
    assert load_device("desktop_gpu", tmp_path).title == "Another card"
    assert load_device("desktop_gpu").title != "Another card"


def test_the_users_alias_comes_first(tmp_path):
    write(tmp_path, profile(aliases=["jetson"]))
    assert load_device("jetson", tmp_path).name == "mine"


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(DeviceError, match="unknown device 'jetson_orin_nan': did you mean 'jetson_orin_nano'"):
        load_device("jetson_orin_nan")


def test_a_missing_file_is_reported_and_so_is_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("gone", "pipe"):
        with pytest.raises(DeviceError, match=rf"cannot read the device profile .*{name}\.yaml: no such file"):
            load_device(f"{name}.yaml", tmp_path)


def test_a_pipe_among_the_profiles_harms_no_other(tmp_path):
    path = write(tmp_path, profile(aliases=["board"]))
    os.mkfifo(path.with_name("a_pipe.yaml"))
    assert load_device("board", tmp_path).name == "mine"


def without(key, part="peaks"):
    found = profile()
    del found[part][key]
    return found


def changed(key, part="peaks", **values):
    found = profile()
    found[part][key] = found[part][key] | values
    return found


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (changed("fp16_gflops", value=-5), r"peaks\.fp16_gflops\.value: must be at least 1e-09, got -5"),
        (changed("fp16_gflops", value=0), r"must be at least 1e-09, got 0"),
        (changed("fp16_gflops", value=1e-308), r"must be at least 1e-09"),
        (changed("memory_bandwidth_gb_s", value=1e300), r"must be at most 1e\+18"),
        (profile(contract={"percentiles": [100]}), r"contract\.percentiles\[0\]: must be at most 99\.99, got 100"),
        (profile(contract={"percentiles": [50, 1e-320]}), r"contract\.percentiles\[1\]: must be at least 0\.01"),
        (profile(contract={"seconds": 1e300}), r"contract\.seconds: must be at most 86400"),
        (changed("fp16_gflops", value=float("nan")), r"peaks\.fp16_gflops\.value"),
        (changed("fp16_gflops", value="fast"), r"expected a number, got 'fast'"),
        (changed("fp16_gflops", source=""), r"peaks\.fp16_gflops\.source"),
        (changed("fp16_gflops", unit="TFLOP/s"), r"needs unit GFLOP/s, got 'TFLOP/s'"),
        (changed("dense", "efficiency", value=1.5), r"a fraction in \(0, 1\].*1\.5"),
        (without("fp32_gflops"), r"needs peaks\.fp32_gflops: each {value, unit, source}"),
        (without("memory_bandwidth_gb_s"), r"needs peaks\.memory_bandwidth_gb_s"),
        (without("dense", "efficiency"), r"efficiency\.dense: this required key is missing"),
        (profile(runtime="tensorflow"), r"runtime: unknown value 'tensorflow': did you mean 'tensorrt'"),
        (profile(colour="red"), r"colour: unknown key"),
        (profile(threads=0), r"threads"),
        (profile(threads=True), r"threads: expected a number, got true"),
        (profile(name="other"), r"name is 'other' but the file is mine\.yaml"),
        ("- a\n- list\n", r"a device profile is a mapping"),
        ("", r"the device profile is empty"),
        ("name: [unclosed", r"not YAML"),
    ],
)
def test_a_bad_profile_is_told_with_file_and_key(content, says, tmp_path):
    path = write(tmp_path, content)
    with pytest.raises(DeviceError, match=says) as raised:
        load_device("mine", tmp_path)
    assert str(path) in str(raised.value)


ODD_VALUES = ("2001-99-99", "!!int x", "!!float x", "!!bool zz", "!!timestamp x", "!!int ''", f"0x{'f' * 5000}", '"a\\0"')


@pytest.mark.parametrize("value", ODD_VALUES)
def test_odd_values_are_faults_or_texts(value, tmp_path):
    write(tmp_path, dump(profile()).replace(dump({"title": profile()["title"]}), f"title: {value}\n"))
    if value == ODD_VALUES[0]:
        assert load_device("mine", tmp_path).title == value
        return
    with pytest.raises(DeviceError, match="line 2: title: "):
        load_device("mine", tmp_path)


def test_an_alias_bomb_is_refused_and_harms_no_other_profile(tmp_path):
    levels = "".join(f"- &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9))
    write(tmp_path, f"- &a [x,x,x,x,x,x,x,x,x]\n{levels}")
    with pytest.raises(DeviceError, match="expands to more than 20,000 values"):
        load_device("mine", tmp_path)
    assert load_device("jetson", tmp_path).name == "jetson_orin_nano"


@pytest.mark.parametrize("name", ["a\0.yaml", "\ud800.yaml", "y" * 300 + ".yaml", "~nosuchuser/x.yaml"])
def test_a_path_that_no_file_can_have_is_a_device_error(name):
    with pytest.raises(DeviceError, match="cannot be a path"):
        load_device(name)


def test_every_fault_is_told_at_once_with_its_line(tmp_path):
    text = dump(profile(kind="brick")).replace("value: 17000", "value: -17000")
    write(tmp_path, text)
    lines = text.splitlines()
    with pytest.raises(DeviceError) as raised:
        load_device("mine", tmp_path)
    message = str(raised.value)
    assert "2 faults" in message
    assert f"line {lines.index('kind: brick') + 1}: kind" in message
    assert f"line {lines.index('    value: -17000') + 1}: peaks.fp16_gflops.value" in message


def test_a_broken_neighbour_is_told_only_when_asked_for(tmp_path):
    write(tmp_path, profile(threads=0), "broken")
    write(tmp_path, "aliases: [unclosed", "unreadable")
    write(tmp_path, profile())
    assert load_device("mine", tmp_path).name == "mine"
    assert load_device("jetson", tmp_path).name == "jetson_orin_nano"
    with pytest.raises(DeviceError, match="not YAML"):
        load_device("unreadable", tmp_path)


def test_fingerprints_are_json_and_follow_the_profile(tmp_path):
    device = load_device("jetson")
    found = fingerprint(device)
    assert json.loads(json.dumps(found)) == found
    assert fingerprint(load_device("jetson_orin_nano")) == found
    assert fingerprint(device.model_copy(update={"threads": 2})) != found
    assert {"cpu", "cores", "onnxruntime"} <= set(fingerprint(host()))


def test_the_installed_package_is_searched_before_the_checkout(tmp_path):
    places = folders(tmp_path)
    assert places[0] == tmp_path / "devices"
    assert places[1].parts[-3:] == ("compress", "shipped", "devices")


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=20))
def test_any_name_is_answered_with_a_device_error(name):
    try:
        device = load_device(name)
    except DeviceError:
        return
    assert name in (device.name, *device.aliases)


def test_a_runtime_that_is_none_is_told_with_the_nearest(tmp_path):
    (tmp_path / "mine.yaml").write_text(dump(profile(runtimes=["openvno"])))
    with pytest.raises(DeviceError, match=r"line \d+: runtimes: 'openvno' is not a runtime: did you mean 'openvino'"):
        load_device("mine.yaml", tmp_path)
