import os
import subprocess
import sys

import pytest

import compress


@pytest.mark.parametrize("name", compress.__all__)
def test_every_public_name_is_there_and_knows_where_it_lives(name):
    thing = getattr(compress, name)
    if name != "__version__":
        assert thing.__name__ == name
        assert thing.__module__.startswith("compress.")


def test_public_names_are_sorted_and_listed_by_dir():
    assert compress.__all__ == sorted(compress.__all__)
    assert dir(compress) == compress.__all__


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Pipelin"):
        _ = compress.Pipelin


def test_importing_the_package_imports_nothing_heavy():
    code = "import compress, sys; assert not {'torch', 'pydantic', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_onnx_runtime_sends_no_telemetry_from_a_process_that_imports_the_package(tmp_path):
    """Its telemetry keeps a session file in the temporary folder from its import on."""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | {
        "TMPDIR": str(tmp_path)
    }
    subprocess.run([sys.executable, "-c", "import compress, onnxruntime"], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []
