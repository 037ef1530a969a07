import os
import sys

import pytest

from compress.config.devices import host
from compress.core.errors import DeviceError
from compress.profile.remote.inspect_device import inspect_device


def test_the_facts_of_a_device_are_those_of_its_system(device):
    facts = inspect_device(device(sensors=("rapl", "battery")))
    assert facts.architecture == os.uname().machine
    assert facts.python == sys.version.split()[0]
    assert facts.onnxruntime
    assert "CPUExecutionProvider" in facts.providers
    assert facts.power or facts.no_power.startswith("RAPL: ")
    assert facts.missing(device()) == ""
    assert facts.tensorrt or "looked for trtexec" in facts.missing(device(runtime="tensorrt"))


def test_a_profile_without_a_connection_is_an_error():
    with pytest.raises(DeviceError, match=r"give \{ssh: HOST\}"):
        inspect_device(host())
