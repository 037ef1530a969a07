import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compress.backends.converted.convert import convert_file, target_name
from compress.backends.converted.sidecar import read_sidecar
from compress.core.errors import ConversionError
from compress.export.converters.coreml import check_structure
from tests.backends.converted.files import write_float, write_int8
from tests.backends.converted.installed import installed

INPUTS = {"x": np.zeros((1, 3, 8, 8), np.float32)}


def spec(shape: tuple[int, ...], *kinds: str) -> Any:
    """A description with one input and operators."""
    tensor = SimpleNamespace(type=SimpleNamespace(multiArrayType=SimpleNamespace(shape=shape)))
    block = SimpleNamespace(operations=[SimpleNamespace(type=kind) for kind in kinds])
    main = SimpleNamespace(block_specializations={"a": block})
    return SimpleNamespace(description=SimpleNamespace(input=[tensor]), mlProgram=SimpleNamespace(functions={"main": main}))


def test_the_structure_is_that_of_the_file() -> None:
    quantized = spec((1, 3, 8, 8), "conv", "quantize", "constexpr_affine_dequantize")
    check_structure(quantized, INPUTS, quantized=True)
    with pytest.raises(ConversionError, match="has inputs"):
        check_structure(spec((1, 3, 9, 9), "conv"), INPUTS, quantized=False)
    with pytest.raises(ConversionError, match="no quantized activations or weights"):
        check_structure(spec((1, 3, 8, 8), "conv"), INPUTS, quantized=True)


@pytest.mark.parametrize(("write", "carried"), [(write_float, "nothing"), (write_int8, "all")])
def test_a_package_is_written(write: Any, carried: str, tmp_path: Path) -> None:
    installed("coreml")
    target = tmp_path / "out" / target_name("coreml")
    convert_file("coreml", write(tmp_path), target)
    assert read_sidecar(target).carried == carried
    with zipfile.ZipFile(target) as archive:
        assert any(name.startswith("model.mlpackage/") for name in archive.namelist())
