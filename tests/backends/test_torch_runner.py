import numpy as np
import pytest
import torch
from torch import nn

from compress.backends.runner_protocol import PhaseTimer, TimedPhases
from compress.backends.torch_runner import TorchRunner
from compress.core.errors import ConversionError, DeviceError
from compress.profile.benchmark_rows import PHASE_RUNS, copy_and_compute

INPUTS = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and a CUDA build of torch")


@pytest.fixture
def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(144, 5))


def expected(module):
    with torch.inference_mode():
        return module.eval()(torch.from_numpy(INPUTS)).numpy()


@pytest.mark.parametrize("channels_last", [False, True])
def test_it_answers_like_the_module_in_eval_mode(module, channels_last):
    with TorchRunner(module, channels_last=channels_last) as runner:
        (found,) = runner.run({"x": INPUTS})
    assert module.training
    np.testing.assert_allclose(found, expected(module), atol=1e-5)


def test_half_precision_is_near(module):
    with TorchRunner(module, floats="fp16") as runner:
        (found,) = runner.run({"x": INPUTS})
        assert runner.describe()["floats"] == "float16"
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(module), atol=1e-2)
    assert next(module.parameters()).dtype == torch.float32


def test_channels_last_reaches_the_weights(module):
    with TorchRunner(module, channels_last=True) as runner:
        assert runner._network[0].weight.is_contiguous(memory_format=torch.channels_last)
        assert runner.describe()["layout"] == "channels_last"


def test_compiled_goes_through_torch_compile(module, monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda network: seen.append(network) or network)
    with TorchRunner(module, compiled=True) as runner:
        runner.run({"x": INPUTS})
        assert runner.describe()["compiled"] == "yes"
    assert len(seen) == 1


def test_threads_are_set_and_put_back(module):
    before = torch.get_num_threads()
    with TorchRunner(module, threads=before + 1) as runner:
        assert runner.describe()["threads"] == str(before + 1)
    assert torch.get_num_threads() == before


def test_several_outputs_come_in_order():
    class Two(nn.Module):
        def forward(self, x):
            return {"sum": x.sum((1, 2, 3)), "argmax": x.flatten(1).argmax(1)}

    with TorchRunner(Two()) as runner:
        total, largest = runner.run({"x": INPUTS})
    np.testing.assert_allclose(total, INPUTS.sum((1, 2, 3)), rtol=1e-4)
    assert largest.tolist() == INPUTS.reshape(2, -1).argmax(1).tolist()


def test_inputs_that_do_not_fit_are_told(module):
    with (
        TorchRunner(module) as runner,
        pytest.raises(ConversionError, match=r"Sequential does not run on inputs x \(2, 2, 8, 8\)"),
    ):
        runner.run({"x": INPUTS[:, :2]})


def test_out_of_memory_is_told():
    class Huge(nn.Module):
        def forward(self, x):
            return torch.empty(2**50) + x.sum()

    with TorchRunner(Huge()) as runner, pytest.raises(DeviceError, match="out of memory while running Huge"):
        runner.run({"x": INPUTS})


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what happens without a GPU")
def test_without_a_gpu_the_reason_is_told(module):
    with pytest.raises(DeviceError, match=r"finds no CUDA device: use device='cpu'"):
        TorchRunner(module, device="cuda").__enter__()


def test_cuda_graphs_need_a_gpu(module):
    with pytest.raises(DeviceError, match="CUDA graphs need device='cuda'"):
        TorchRunner(module, graph=True).__enter__()


def test_it_times_no_parts(module):
    with TorchRunner(module) as runner:
        assert not isinstance(runner, PhaseTimer)
        assert copy_and_compute(runner, {"x": INPUTS}) == {}


def test_parts_become_quantities():
    class Device:
        calls = 0

        def time_phases(self, _feeds):
            self.calls += 1
            return TimedPhases(0.1 + self.calls / 1000, 2.0, 0.05)

        def describe(self):
            return {"runtime": "a device"}

    device = Device()
    found = copy_and_compute(device, {})
    assert device.calls == PHASE_RUNS
    assert found["compute_ms"].value == 2.0
    assert found["copy_in_ms"].low < found["copy_in_ms"].value < found["copy_in_ms"].high
    assert found["copy_out_ms"].detail == "a device, timed by events on the device"
    assert found["copy_out_ms"].runs == PHASE_RUNS


@needs_cuda
@pytest.mark.parametrize("settings", [{}, {"channels_last": True}, {"graph": True}, {"floats": "fp16"}])
def test_on_a_gpu_it_answers_alike(module, settings):
    with TorchRunner(module, device="cuda", **settings) as runner:
        for _ in range(2):
            (found,) = runner.run({"x": INPUTS})
    np.testing.assert_allclose(found, expected(module), atol=1e-2)
