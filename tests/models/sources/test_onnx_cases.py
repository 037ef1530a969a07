"""Real small files: each quantizes, exports, profiles and reports, or says in one sentence what prevents it.

Slow, and the files are fetched apart: set COMPRESS_CASES to their folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from compress.core.errors import ConversionError
from tests.models.sources.real_files import CASES, REFUSED, run_case

FOLDER = Path(os.environ.get("COMPRESS_CASES", "nowhere"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not FOLDER.is_dir(), reason="COMPRESS_CASES names no folder with real files"),
]


@pytest.mark.parametrize("name", CASES)
def test_a_real_file_is_quantized_and_reported_or_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    path = FOLDER / name
    if name in REFUSED:
        with pytest.raises(ConversionError, match=REFUSED[name]):
            run_case(path, CASES[name], tmp_path)
        return
    run = run_case(path, CASES[name], tmp_path)
    start, (quantized, exported, profiled) = run.record.start, run.record.stages
    assert start["similarity"].value == pytest.approx(1.0, abs=1e-4)
    assert 0.0 < (quantized.after["similarity"].value or 0.0) <= 1.0
    assert start["size_bytes"].value == pytest.approx(path.stat().st_size, rel=0.1)
    assert (quantized.after["size_bytes"].value or 0) < 1.05 * (start["size_bytes"].value or 0)
    in_int8 = any(note.code == "quantize.int8_coverage" for note in quantized.notes)
    assert in_int8 or any(warning.code == "quantize.nothing_in_int8" for warning in quantized.warnings)
    assert exported.after["similarity"].value == quantized.after["similarity"].value
    assert profiled.benchmark_rows
    texts = [file.read_text(encoding="utf-8") for file in run.report if file.suffix == ".md"]
    assert texts
    assert not any(re.search(r"(?<![\d.])0 B\b", text) for text in texts)
