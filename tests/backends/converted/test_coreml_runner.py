import sys
from pathlib import Path

import pytest

from compress.backends.open_runner import open_runner
from compress.core.errors import DeviceError
from tests.backends.converted.answers import check_float, check_install_line
from tests.backends.converted.files import write_float
from tests.backends.converted.installed import installed


@pytest.mark.skipif(sys.platform != "darwin", reason="Core ML runs on macOS alone")
def test_a_float_file_answers_like_onnx_runtime(tmp_path: Path) -> None:
    installed("coreml")
    check_float("coreml", tmp_path)


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_elsewhere_a_file_is_converted_and_not_run(tmp_path: Path) -> None:
    installed("coreml")
    with pytest.raises(DeviceError, match=r"Core ML runs on macOS and iOS alone: .* structure checked, but not run"):
        open_runner("coreml", write_float(tmp_path)).__enter__()


def test_without_the_package_the_install_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_install_line("coreml", tmp_path, monkeypatch)
