from pathlib import Path

import numpy as np
import pytest

from compress.backends.converted.litert_runner import _real, _stored
from tests.backends.converted.answers import check_float, check_install_line, check_int8
from tests.backends.converted.installed import installed


def test_a_float_file_answers_like_onnx_runtime(tmp_path: Path) -> None:
    installed("litert")
    check_float("litert", tmp_path)


def test_an_int8_file_answers_like_its_onnx_file(tmp_path: Path) -> None:
    installed("litert")
    check_int8("litert", tmp_path)


def test_without_the_package_the_install_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_install_line("litert", tmp_path, monkeypatch)


def test_floats_are_stored_with_scale_and_zero_point_and_read_back() -> None:
    detail = {"quantization": (0.5, -3), "dtype": np.int8}
    stored = _stored(np.array([-100.0, 0.0, 1.2, 100.0], np.float32), detail)
    np.testing.assert_array_equal(stored, np.array([-128, -3, -1, 127], np.int8))
    np.testing.assert_array_equal(_real(stored, detail), np.array([-62.5, 0.0, 1.0, 65.0], np.float32))
    tokens = np.array([1, 2])
    assert _stored(tokens, {"quantization": (0.0, 0), "dtype": np.int64}) is tokens
