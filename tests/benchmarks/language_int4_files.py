"""Files of a decoder in integers, ours and those of other tools, and one way to run all: a prompt, then token by token."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.decoder.key_value_cache import write_cached
from compress.quantize.ptq.smoothquant import smooth_linear_inputs
from compress.quantize.qdq.placement import match_nodes
from compress.quantize.schemes import SchemeOptions, build_models
from compress.quantize.target_requirements import Scheme, needs_7bit_weights
from compress.quantize.weight_only.head_and_tables import HeadAndTables
from compress.quantize.weight_only.round_blocks import needs_data

FLOAT, NNCF = "float", "OpenVINO with NNCF, groups of 32"
EIGHT, FOUR = HeadAndTables(8, 8), HeadAndTables(4, 4)
SENSITIVE = ("*.v_proj/*", "*.down_proj/*")
"""Layers that the field keeps in more bits."""
SMOOTH = 0.65
FEWER = 4
"""AWQ and SmoothQuant, which need only ranges and means, take every fourth of the texts for GPTQ."""


@dataclass(frozen=True)
class Ours:
    """One of our files.

    Attributes:
        scheme: Name of the scheme.
        options: Its options; 8 bits for the head and its tied table unless they say otherwise.
        smooth: α of SmoothQuant, or None.
        sensitive: Whether the layers of `SENSITIVE` have 8 bits.
    """

    scheme: Scheme
    options: SchemeOptions
    smooth: float | None = None
    sensitive: bool = False


BLOCKS = SchemeOptions(block=32, accuracy_level=4, parts=EIGHT)
DYNAMIC, INT8 = "dynamic_int8, smoothed", "block_int8"
INT4, MIXED = "weight_int4, gptq", "the same, v_proj and down_proj in 8 bits"
FILES: dict[str, Ours] = {
    "dynamic_int8": Ours("dynamic_int8", SchemeOptions(seven_bits=needs_7bit_weights())),
    DYNAMIC: Ours("dynamic_int8", SchemeOptions(seven_bits=needs_7bit_weights()), smooth=SMOOTH),
    INT8: Ours("block_int8", BLOCKS),
    "weight_int4, nearest": Ours("weight_int4", BLOCKS),
    "weight_int4, awq": Ours("weight_int4", replace(BLOCKS, rounding="awq")),
    INT4: Ours("weight_int4", replace(BLOCKS, rounding="gptq")),
    MIXED: Ours("weight_int4", replace(BLOCKS, rounding="gptq"), sensitive=True),
    "weight_int4, gptq, blocks of 128, head in 4 bits": Ours(
        "weight_int4", replace(BLOCKS, block=128, rounding="gptq", parts=FOUR)
    ),
}
"""Ours, by name; in blocks of 32 and with products of 8-bit activations unless the name says otherwise."""
FLOAT_PRODUCTS = f"{MIXED}, float products"


def our_files(source: Path, batches: Sequence[dict[str, np.ndarray]], folder: Path) -> dict[str, Path]:
    """Files with past keys and values and all logits, by name; those that exist are kept."""
    files = {FLOAT: folder / "float.onnx"} | {name: folder / f"ours {name}.onnx" for name in (*FILES, FLOAT_PRODUCTS)}
    for name in (FLOAT, *FILES):
        if files[name].exists():
            continue
        plain = source
        if name != FLOAT:
            plain = folder / "plain.onnx"
            onnx_files.save(_build(FILES[name], source, batches), plain)
        write_cached(plain, files[name], logits="all")
    if not files[FLOAT_PRODUCTS].exists():
        model = onnx.load(files[MIXED])
        for node in model.graph.node:
            values = {attribute.name: attribute for attribute in node.attribute}
            if node.op_type == "MatMulNBits" and values["bits"].i == 4:
                values["accuracy_level"].i = 0
        onnx.save(model, files[FLOAT_PRODUCTS])
    return files


def _build(ours: Ours, source: Path, batches: Sequence[dict[str, np.ndarray]]) -> onnx.ModelProto:
    model, options = graphs.to_ir(onnx_files.load(source)), ours.options
    if ours.smooth is not None:
        model = smooth_linear_inputs(model, batches[::FEWER], ours.smooth).model
    if ours.sensitive:
        options = replace(options, eight_bits=match_nodes(model, SENSITIVE, "eight_bits"))
    if needs_data(options.rounding):
        options = replace(options, batches=batches if options.rounding == "gptq" else batches[::FEWER])
    return build_models(ours.scheme, model, ("onnxruntime",), options).models["onnxruntime"]


def peer_files(folder: Path, hugging_face: Path) -> dict[str, Path]:
    """Files of other tools with their defaults for 4 bits, by name."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    files = {"onnxruntime.quantization": folder / "ort.onnx", "onnxruntime-genai": folder / "genai" / "model.onnx"}
    if not files["onnxruntime.quantization"].exists():
        quantizer = MatMulNBitsQuantizer(onnx.load(folder / "float.onnx"))
        quantizer.process()
        quantizer.model.save_model_to_file(str(files["onnxruntime.quantization"]), use_external_data_format=False)
    if not files["onnxruntime-genai"].exists():
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(hugging_face), "-o"]
        subprocess.run([*command, str(folder / "genai"), "-p", "int4", "-e", "cpu"], check=True)
    return files | {NNCF: folder / "float.onnx"}  # compressed when it is opened: OpenVINO does not write its fused attention


def _compressed(source: Path) -> Any:
    """OpenVINO's weight compression of the float file with a cache, as a network that keeps its state."""
    import nncf
    import openvino
    from nncf.common.graph.layer_attributes import Dtype
    from nncf.openvino.graph.nncf_graph_builder import GraphConverter
    from openvino._offline_transformations import apply_make_stateful_transformation

    known = GraphConverter.convert_to_nncf_dtype
    names_of_types = {"dynamic": Dtype.FLOAT}  # NNCF refuses the omitted inputs of the fused attention, which have no type
    GraphConverter.convert_to_nncf_dtype = staticmethod(lambda kind: names_of_types.get(kind.get_type_name()) or known(kind))  # type: ignore[method-assign,assignment]
    model = openvino.convert_model(source)
    shapes = {port: port.get_partial_shape() for port in model.inputs}
    for shape in shapes.values():
        shape[0] = 1  # a state without a batch is empty
    model.reshape(shapes)
    names = [name for port in model.inputs for name in port.get_names() if name.startswith("past")]
    model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT4_ASYM, group_size=32)
    apply_make_stateful_transformation(model, {name: name.replace("past_key_values", "present") for name in names})
    return model


class OrtDecoder:
    """A file in ONNX Runtime; keys and values lie in buffers that each run reads and writes.

    Args:
        path: The file.
        capacity: Most tokens of a text.
        width: Numbers in a head.
        groups: Key–value heads.
    """

    def __init__(self, path: Path, capacity: int, width: int, groups: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.binding, self.length = self.session.io_binding(), 0
        self.names = {each.name for each in self.session.get_inputs()}
        self.logits = self.session.get_outputs()[0].name
        for name in self.names:
            if name.startswith("past_key_values."):
                empty = np.zeros((1, groups, capacity, width), np.float32)
                buffer = onnxruntime.OrtValue.ortvalue_from_numpy(empty)
                self.binding.bind_ortvalue_input(name, buffer)
                self.binding.bind_ortvalue_output(name.replace("past_key_values", "present"), buffer)

    def start(self) -> None:
        """Begin a new text."""
        self.length = 0

    def read(self, tokens: Sequence[int]) -> np.ndarray:
        """Logits (L, V) after each token, or (1, V) after the last."""
        total = self.length + len(tokens)
        self.binding.bind_output(self.logits)
        self.binding.bind_cpu_input("input_ids", np.array([tokens], np.int64))
        self.binding.bind_cpu_input("attention_mask", np.ones((1, total), np.int64))
        if "position_ids" in self.names:
            self.binding.bind_cpu_input("position_ids", np.arange(self.length, total, dtype=np.int64)[None])
        self.session.run_with_iobinding(self.binding)
        self.length = total
        logits: np.ndarray = self.binding.get_outputs()[-1].numpy()[0]
        return logits


class OpenVinoDecoder:
    """A float file with a cache in OpenVINO, whose weights NNCF compresses to 4 bits in groups of 32.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        import openvino

        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
        self.request = openvino.Core().compile_model(_compressed(path), "CPU", settings).create_infer_request()
        self.length = 0

    def start(self) -> None:
        """Begin a new text."""
        self.request.reset_state()
        self.length = 0

    def read(self, tokens: Sequence[int]) -> np.ndarray:
        """Logits (L, V)."""
        self.length += len(tokens)
        feeds = {"input_ids": np.array([tokens], np.int64), "attention_mask": np.ones((1, self.length), np.int64)}
        logits: np.ndarray = self.request.infer(feeds)[0][0]
        return logits
