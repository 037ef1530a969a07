from pathlib import Path

import pytest

from tests.backends.converted.answers import check_float, check_int8
from tests.backends.converted.installed import installed


@pytest.mark.slow
def test_a_float_file_answers_like_onnx_runtime(tmp_path: Path) -> None:
    installed("inductor")
    check_float("inductor", tmp_path)


@pytest.mark.slow
def test_an_int8_file_answers_like_its_onnx_file(tmp_path: Path) -> None:
    installed("inductor")
    check_int8("inductor", tmp_path)
