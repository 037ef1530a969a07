import struct
import subprocess
import sys

import pytest

from compress.core.errors import DataError
from compress.data.factory import data_fingerprint
from compress.data.settings import DataSettings
from compress.data.sources.distilled_metadata import distilled_file, read_metadata, source_description
from compress.data.sources.distilled_set import write
from tests.data.sources.toy_distilled import a_set, recipe


def test_its_fingerprint_needs_no_torch_and_follows_the_file_and_the_data_behind_it(written, tmp_path):
    code = (
        "import sys; from pathlib import Path; from compress.data.settings import DataSettings; "
        "from compress.data.factory import data_fingerprint; "
        f"print(data_fingerprint(DataSettings(source='distilled:set'), Path({str(tmp_path)!r}))); "
        "print([m for m in ('torch', 'numpy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, loaded = done.stdout.strip().split("\n")
    assert loaded == "[]"
    assert first == str(data_fingerprint(recipe(), tmp_path))
    write(tmp_path / "set" / "distilled.safetensors", a_set(method="herding"))
    assert str(data_fingerprint(recipe(), tmp_path)) != first
    assert read_metadata(tmp_path / "set").method == "herding"


def test_the_header_alone_gives_what_the_set_says_of_itself(written, tmp_path):
    file = tmp_path / "set" / "distilled.safetensors"
    assert read_metadata(tmp_path / "set") == read_metadata(file) == written.about
    (length,) = struct.unpack("<Q", file.read_bytes()[:8])
    file.write_bytes(file.read_bytes()[: 8 + length])
    assert read_metadata(file) == written.about


@pytest.mark.parametrize(
    "content",
    [b"", b"no set", struct.pack("<Q", 1 << 62) + b"{}", struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 4) + b"null"],
)
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "distilled.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="is not a distilled set, or is damaged"):
        read_metadata(tmp_path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no distilled set at .*distilled\.safetensors"):
        distilled_file(tmp_path)


def test_the_data_behind_is_read_as_then_with_the_limits_of_now():
    then, now = (
        DataSettings(image_size=16, limit=5, seed=3),
        DataSettings(image_size=64, evaluation_limit=7, workers=2, limit=9),
    )
    assert source_description(then, now) == then.model_copy(update={"evaluation_limit": 7, "workers": 2})
