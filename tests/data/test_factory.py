import subprocess
import sys
from pathlib import Path

import pytest

from compress.core.errors import DataError
from compress.core.registry import ENTRIES
from compress.data.factory import data_fingerprint, load_data
from compress.data.settings import DataSettings


def test_an_unknown_source_is_answered_with_the_nearest():
    with pytest.raises(DataError, match="unknown data source 'digit': did you mean 'digits'"):
        load_data(DataSettings(source="digit"), base=Path())


def test_every_source_of_the_table_can_be_imported():
    assert all(callable(row.load()) for row in ENTRIES if row.family == "data")


def test_fingerprints_of_built_in_sources_repeat():
    for source in ("digits", "glyphs", "cifar10"):
        settings = DataSettings(source=source)
        assert data_fingerprint(settings, Path()) == data_fingerprint(settings, Path())


def test_the_fingerprint_of_user_code_follows_the_file_and_does_not_run_it(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('ran')\n")
    settings = DataSettings(source="python:mine.py:make")
    before = data_fingerprint(settings, tmp_path)
    file.write_text("raise SystemExit('ran again')\n")
    assert data_fingerprint(settings, tmp_path) != before


def test_fingerprints_are_computed_without_heavy_packages():
    code = (
        "import sys; from pathlib import Path; from compress.data.settings import DataSettings; "
        "from compress.data.factory import data_fingerprint; "
        "[data_fingerprint(DataSettings(source=s), Path()) for s in ('digits', 'glyphs', 'cifar10')]; "
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'matplotlib', 'PIL', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("source", ["drawn_boxes", "npz:DIR", "random:MODEL.onnx"])
def test_a_source_that_keeps_all_labels_refuses_to_withhold_some(source, tmp_path):
    with pytest.raises(DataError, match="keeps all its labels; leave `labelled` out"):
        load_data(DataSettings(source=source, labelled=50), base=tmp_path)
