"""The default quantization of each converter, from the float network, for `bench_runtimes.py`.

Each function writes a file from the float ONNX file as the converter's own documentation starts: ONNX Runtime's
`quantize_static` with its defaults; NNCF's `quantize` for OpenVINO; ai-edge-quantizer's recipe `static_wi8_ai8` on the float
`.tflite` file; ExecuTorch's `XNNPACKQuantizer` with `get_symmetric_quantization_config()` through PT2E; MNNConvert with
`--weightQuantBits 8`. ncnn's tools (`ncnn2table`, `ncnn2int8`) are not in its Python package.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from compress.backends.converted.convert_process import _output_layouts
from compress.backends.converted.sidecar import Carried, Sidecar, TensorLayout, write_sidecar

Inputs = Mapping[str, np.ndarray]
ENDINGS = {"onnxruntime": ".onnx", "openvino": ".onnx", "litert": ".tflite", "executorch": ".pte", "mnn": ".mnn"}
"""Runtimes with a default quantization, and the ending of their files."""


def of_onnxruntime(source: Path, target: Path, samples: Sequence[Inputs], float_file: Path | None) -> None:
    """`quantize_static` with its defaults, after the preprocessing that its documentation asks for."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest: Iterator[Inputs] = iter(samples)

        def get_next(self) -> Inputs | None:
            return next(self.rest, None)

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(target), Reader())
    prepared.unlink()


def of_openvino(source: Path, target: Path, samples: Sequence[Inputs], float_file: Path | None) -> None:
    """NNCF's `quantize` with its defaults, on the ONNX file, which OpenVINO reads."""
    import nncf
    import onnx

    onnx.save(nncf.quantize(onnx.load(source), nncf.Dataset([dict(sample) for sample in samples])), target)


def of_litert(source: Path, target: Path, samples: Sequence[Inputs], float_file: Path | None) -> None:
    """Static 8 bits for weights and activations on the float file."""
    from ai_edge_quantizer import quantizer, recipe

    assert float_file is not None
    made = quantizer.Quantizer(str(float_file), recipe.static_wi8_ai8())
    data = [{f"args_{index}": _as_litert(array) for index, array in enumerate(sample.values())} for sample in samples]
    calibration = made.calibrate({"serving_default": data})
    made.quantize(calibration).export_model(str(target), overwrite=True)
    _write_layout(source, target, samples[0], "all")


def _as_litert(array: np.ndarray) -> np.ndarray:
    """An input as LiteRT takes it, whose integers have 32 bits."""
    return array.astype(np.int32) if array.dtype == np.int64 else array


def of_executorch(source: Path, target: Path, samples: Sequence[Inputs], float_file: Path | None) -> None:
    """PT2E with the quantizer of the XNNPACK backend."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from compress.export.converters.torch_program import torch_program

    network, example = torch_program(source, samples[0])
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(network, example, strict=False).module(), quantizer)
    for sample in samples:
        prepared(*(torch.from_numpy(sample[name]) for name in samples[0]))
    program = torch.export.export(convert_pt2e(prepared), example, strict=False)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    target.write_bytes(lowered.to_executorch().buffer)
    _write_layout(source, target, samples[0], "all")


def of_mnn(source: Path, target: Path, samples: Sequence[Inputs], float_file: Path | None) -> None:
    """Weights in 8 bits by the converter."""
    import _tools

    options = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "compress"]
    _tools.mnnconvert(["mnnconvert", *options, "--weightQuantBits", "8"])
    _write_layout(source, target, samples[0], "weights")


FUNCTIONS = {
    "onnxruntime": of_onnxruntime,
    "openvino": of_openvino,
    "litert": of_litert,
    "executorch": of_executorch,
    "mnn": of_mnn,
}


def _write_layout(source: Path, target: Path, sample: Inputs, carried: Carried) -> None:
    layouts = {name: TensorLayout(shape=array.shape, dtype=array.dtype.name) for name, array in sample.items()}
    outputs = _output_layouts(source, sample)
    write_sidecar(target, Sidecar(inputs=layouts, outputs=outputs, carried=carried, files=(target.name,)))


def main() -> None:
    """Write one file: RUNTIME SOURCE TARGET SAMPLES FLOAT_FILE; a converter that aborts ends this process alone."""
    runtime, source, target, samples, float_file = sys.argv[1:]
    with np.load(samples, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    rows = [
        {name: array[index : index + 1] for name, array in arrays.items()} for index in range(len(next(iter(arrays.values()))))
    ]
    aside = Path(target).with_name(f"aside{ENDINGS[runtime]}")
    try:
        FUNCTIONS[runtime](Path(source), aside, rows, Path(float_file) if float_file else None)
    except Exception as error:  # converters raise errors of any type
        Path(target).with_suffix(".reason").write_text(json.dumps(f"{type(error).__name__}: {error}"[:400]), encoding="utf-8")
        raise
    shutil.move(aside, target)
    layout = aside.with_name(f"{aside.name}.json")
    if layout.is_file():
        text = json.loads(layout.read_text(encoding="utf-8"))
        Path(f"{target}.json").write_text(json.dumps({**text, "files": [Path(target).name]}), encoding="utf-8")
        layout.unlink()


if __name__ == "__main__":
    main()
