from pathlib import Path

import pytest

from compress.backends.converted.convert import convert_file, converted, converter_of, target_name
from compress.backends.converted.sidecar import file_sizes, read_sidecar
from compress.core.errors import CompressError, ConversionError, MissingPackageError
from compress.core.registry import Entry, entries, temporary
from tests.backends.converted.files import write_float, write_int8

FAKES = "tests.backends.converted.fake_converters"


def row(function: str) -> Entry:
    return Entry(
        "converter", "fake", f"{FAKES}:{function}", "this test", {"ending": ".x", "package": "fakelib", "extra": "fake"}
    )


def test_every_converter_has_a_runner_and_a_format_of_its_name() -> None:
    formats = {entry.name for entry in entries("format")}
    runners = {entry.name: entry for entry in entries("runner")}
    for entry in entries("converter"):
        assert entry.name in formats
        assert runners[entry.name].options["format"] == entry.name
        assert {"ending", "package", "extra"} <= entry.options.keys()


def test_a_converted_file_has_a_sidecar_with_its_inputs_and_outputs(tmp_path: Path) -> None:
    source, target = write_int8(tmp_path), tmp_path / "out" / target_name("ort")
    convert_file("ort", source, target)
    sidecar = read_sidecar(target)
    assert sidecar.inputs["x"].shape == (1, 3, 8, 8)
    assert sidecar.outputs["y"].shape == (1, 5)
    assert (sidecar.carried, sidecar.files) == ("all", ("model.ort",))
    assert file_sizes(target) == target.stat().st_size


def test_a_file_is_converted_once_until_it_changes(tmp_path: Path) -> None:
    source = write_float(tmp_path)
    first = converted("ort", source)
    assert converted("ort", source) == first
    write_int8(tmp_path).replace(source)
    assert converted("ort", source) != first


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        ("aborts", ConversionError, "operator Foo is not supported"),
        ("raises", ConversionError, "no kernel for operator Foo"),
        ("needs_package", MissingPackageError, r"pip install 'compress\[fake\]'"),
    ],
)
def test_a_converter_that_fails_is_an_error_with_its_reason(
    function: str, kind: type[CompressError], text: str, tmp_path: Path
) -> None:
    with temporary(row(function)), pytest.raises(kind, match=text):
        convert_file("fake", write_float(tmp_path), tmp_path / "out" / "model.x")


def test_a_slow_converter_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="longer than"):
        convert_file("ort", write_float(tmp_path), tmp_path / "out" / "model.ort", timeout_s=0.01)


def test_runtimes_that_read_onnx_have_no_converter() -> None:
    assert converter_of("onnxruntime:cuda") is None
    assert converter_of("openvino") is None
    assert converter_of("litert") is not None
