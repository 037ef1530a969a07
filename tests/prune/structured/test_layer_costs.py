import pytest
from torch import nn

from compress.config.devices import load_device
from compress.core.errors import DeviceError
from compress.prune.module_latency import layer_times, read_times, write_times

TIMES = {"stem.0": 1.0, "expand.0": 2.0, "depth.0": 4.0, "project.0": 8.0, "head": 16.0}


@pytest.mark.parametrize("device", ["host", "mobile_cpu"])
def test_every_convolution_has_a_time_measured_or_estimated(device, residual, spec):
    times = layer_times(residual, spec, load_device(device), seconds=0.05)
    convolutions = {name for name, part in residual.named_modules() if isinstance(part, nn.Conv2d)}
    assert convolutions <= set(times)
    assert min(times.values()) > 0


def test_times_are_kept_for_the_same_pruning_only(tmp_path):
    path = tmp_path / "times.json"
    write_times(TIMES, path, "key")
    assert read_times(path, "key") == TIMES
    assert read_times(path, "other") is None
    path.write_text("[1")
    assert read_times(path, "key") is None


def test_a_network_without_times_is_refused(spec):
    class Bare(nn.Module):
        def forward(self, x):
            return x.mean((1, 2, 3))[:, None].expand(-1, 4)

    with pytest.raises(DeviceError, match="leave cost_aware: latency out"):
        layer_times(Bare(), spec, load_device("mobile_cpu"))
