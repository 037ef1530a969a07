import pytest
import torch
from torch import nn

from compress.backends import onnx_files, onnx_graph
from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import image_spec
from compress.profile.layers import layer_times as layers


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x)) + x


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU6())
        self.block = Block()
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean((2, 3)))


@pytest.fixture(scope="package")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    spec = image_spec(channels=3, height=16, width=16, mean=(0, 0, 0), std=(1, 1, 1), classes=tuple("abcde"))
    path = tmp_path_factory.mktemp("layers") / "net.onnx"
    export_onnx(Net(), spec, path)
    return path


@pytest.fixture(scope="package")
def quantized(exported):
    from compress.quantize.qdq import quantize_graph as int8
    from compress.quantize.qdq.placement import activations_to_calibrate

    float_model = onnx_files.load(exported)
    ranges = dict.fromkeys(activations_to_calibrate(onnx_graph.to_ir(float_model), ("onnxruntime",)), (-1.0, 3.0))
    int8_model = int8.quantize_static(onnx_graph.to_ir(float_model), ranges, "onnxruntime")
    onnx_files.write_metadata(
        int8_model, image_spec(channels=3, height=16, width=16, mean=(0,) * 3, std=(1,) * 3, classes=tuple("abcde"))
    )
    onnx_files.save(int8_model, exported.with_name("int8.onnx"))
    return exported.with_name("int8.onnx")


@pytest.fixture(scope="package")
def measured(exported, quantized):
    return layers.measure({"student": exported, "artifact": quantized}, seconds=0.05)
