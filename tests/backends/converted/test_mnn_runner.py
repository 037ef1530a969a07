from pathlib import Path

import pytest

from tests.backends.converted.answers import SYMMETRIC, check_float, check_install_line, check_int8
from tests.backends.converted.installed import installed


def test_a_float_file_answers_like_onnx_runtime(tmp_path: Path) -> None:
    installed("mnn")
    check_float("mnn", tmp_path)


def test_an_int8_file_answers_like_its_onnx_file(tmp_path: Path) -> None:
    installed("mnn")
    check_int8("mnn", tmp_path, SYMMETRIC)


def test_without_the_package_the_install_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_install_line("mnn", tmp_path, monkeypatch)
