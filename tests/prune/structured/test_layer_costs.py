import pytest
from torch import nn

from compress.config.devices import load_device
from compress.core.errors import DeviceError
from compress.prune.structured.layer_costs import layer_times


@pytest.mark.parametrize("device", ["host", "mobile_cpu"])
def test_every_convolution_has_a_time_measured_or_estimated(device, residual, spec):
    times = layer_times(residual, spec, load_device(device), seconds=0.05)
    convolutions = {name for name, part in residual.named_modules() if isinstance(part, nn.Conv2d)}
    assert convolutions <= set(times)
    assert min(times.values()) > 0


def test_a_network_without_times_is_refused(spec):
    class Bare(nn.Module):
        def forward(self, x):
            return x.mean((1, 2, 3))[:, None].expand(-1, 4)

    with pytest.raises(DeviceError, match="leave it out"):
        layer_times(Bare(), spec, load_device("mobile_cpu"))
