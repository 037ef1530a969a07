from pathlib import Path

from tests.backends.converted.answers import check_float, check_int8


def test_a_float_file_answers_like_onnx_runtime(tmp_path: Path) -> None:
    check_float("ort", tmp_path)


def test_an_int8_file_answers_like_its_onnx_file(tmp_path: Path) -> None:
    check_int8("ort", tmp_path)
