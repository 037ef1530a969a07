"""Build a job for the agent: files, inputs, and arguments of `trtexec`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.backends.read_graph import graph_inputs, read_graph
from compress.backends.runner_protocol import Array, Feeds, zero_arrays
from compress.config.devices import Device
from compress.core.errors import ConversionError, DeviceError
from compress.core.language import gettext
from compress.profile.memory import memory
from compress.profile.remote.messages import OnnxruntimeOrder, RunSettings, TrtexecOrder
from compress.profile.remote.trtexec import ROUNDS
from compress.profile.settings import remote_sensor_targets

WORKSPACE_MIB = 1024


@dataclass(frozen=True)
class Job:
    """Files to send to a device, and the order for its worker.

    Attributes:
        files: Local path by path on the device.
        arrays: Input by path on the device.
        order: See `agent_worker`.
    """

    files: dict[str, Path]
    arrays: dict[str, Array]
    order: OnnxruntimeOrder | TrtexecOrder


def build_job(files: Mapping[str, Path], feeds: Mapping[str, Feeds] | None, device: Device, settings: RunSettings) -> Job:
    """Build the job of a measurement.

    Args:
        files: ONNX files by subject.
        feeds: Inputs by subject; None feeds zeros in the input shapes of each file.
        device: Device profile.
        settings: Settings of the measurement.

    Raises:
        ConversionError: A file is not ONNX, or its external data is missing.
        DeviceError: The device's runtime cannot be measured over SSH, or the input shapes of a file are not known.
    """
    remote_paths = {name: f"models/{index}/{path.name}" for index, (name, path) in enumerate(files.items())}
    sent = {
        f"{Path(remote_paths[name]).parent}/{part.relative_to(path.parent)}": part
        for name, path in files.items()
        for part in _parts(path)
    }
    sensors = remote_sensor_targets(device)
    if device.runtime == "onnxruntime":
        arrays, paths = _name_inputs({} if feeds is None else {name: feeds[name] for name in files}, "npy")
        order: OnnxruntimeOrder = {
            **settings,  # type: ignore[typeddict-item]  # mypy counts keys that are not required
            "job": "onnxruntime",
            "sensors": sensors,
            "files": remote_paths,
            "feeds": None if feeds is None else paths,
        }
        return Job(sent, arrays, order)
    if device.runtime != "tensorrt":
        msg = gettext(
            "{name}: {runtime} is not measured over SSH; `runtime:` may be onnxruntime or tensorrt there",
            name=device.name,
            runtime=device.runtime,
        )
        raise DeviceError(msg)
    inputs = feeds if feeds is not None else {name: _zeros(path, settings["batch"]) for name, path in files.items()}
    arrays, paths = _name_inputs({name: inputs[name] for name in files}, "bin")
    free = {name: sorted(_dynamic(path) & set(inputs[name])) for name, path in files.items()}
    shapes = {name: {key: inputs[name][key].shape for key in keys} for name, keys in free.items()}
    engines: TrtexecOrder = {
        **settings,
        "job": "tensorrt",
        "sensors": sensors,
        "build": {name: build_arguments(remote_paths[name], shapes[name]) for name in files},
        "time": {name: time_arguments(remote_paths[name], shapes[name], paths[name], settings) for name in files},
    }
    return Job(sent, arrays, engines)


def build_arguments(model: str, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Arguments of `trtexec` that build an engine for fixed input shapes; all relevant options are explicit.

    Args:
        model: ONNX file; the engine is written beside it.
        shapes: Shapes of the inputs that have a free dimension.
    """
    shape_text = _shapes(shapes)
    return [
        f"--onnx={model}",
        f"--saveEngine={model}.engine",
        *(f"--{which}Shapes={shape_text}" for which in ("min", "opt", "max") if shape_text),
        "--stronglyTyped",
        f"--memPoolSize=workspace:{WORKSPACE_MIB}M",
        "--builderOptimizationLevel=3",
        "--timingCacheFile=timing.cache",
        "--sparsity=disable",
        "--skipInference",
    ]


def time_arguments(
    model: str, shapes: Mapping[str, tuple[int, ...]], inputs: Mapping[str, str], settings: RunSettings
) -> list[str]:
    """Arguments of `trtexec` that time an engine for one turn.

    Args:
        model: See `build_arguments`.
        shapes: See `build_arguments`.
        inputs: Raw input files by name.
        settings: `seconds` of all turns together, and `warmup_seconds`.
    """
    shape_text = _shapes(shapes)
    return [
        f"--loadEngine={model}.engine",
        *([f"--shapes={shape_text}"] if shape_text else []),
        "--loadInputs=" + ",".join(f"{name}:{file}" for name, file in inputs.items()),
        "--useCudaGraph",
        "--useSpinWait",
        "--iterations=10",
        f"--warmUp={max(200, round(settings['warmup_seconds'] * 1000))}",
        f"--duration={max(1, round(settings['seconds'] / ROUNDS))}",
        "--avgRuns=1",
        "--percentile=50",
    ]


def _parts(path: Path) -> list[Path]:
    """An ONNX file and its external data files.

    Raises:
        ConversionError: A file is missing.
    """
    files = memory.parts(path)
    if missing := [str(part) for part in files if not part.is_file()]:
        msg = gettext(
            "cannot send {path}: its external data is missing: keep {missing} beside the .onnx file",
            path=path,
            missing=", ".join(missing),
        )
        raise ConversionError(msg)
    return files


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _name_inputs(feeds: Mapping[str, Feeds], suffix: str) -> tuple[dict[str, Array], dict[str, dict[str, str]]]:
    """Arrays to send by path on the device, each once, and the path of each input by subject and name."""
    arrays: dict[str, Array] = {}
    paths: dict[str, dict[str, str]] = {}
    for subject, inputs in feeds.items():
        paths[subject] = {}
        for name, array in inputs.items():
            existing = next((path for path, other in arrays.items() if other is array), None)
            path = existing or f"inputs/{len(arrays)}.{suffix}"
            arrays[path] = array
            paths[subject][name] = path
    return arrays, paths


def _inputs(path: Path) -> dict[str, tuple[tuple[int | str | None, ...], str]]:
    """Shape and type of each input of an ONNX file, without initializers; None for a free dimension."""
    import onnx

    return {
        item.name: (
            tuple(size.dim_value or None for size in item.type.tensor_type.shape.dim),
            np.dtype(onnx.helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type)).name,
        )
        for item in graph_inputs(read_graph(path).graph)
    }


def _dynamic(path: Path) -> set[str]:
    return {name for name, (shape, _) in _inputs(path).items() if not all(shape)}


def _zeros(path: Path, batch: int) -> dict[str, Array]:
    try:
        return zero_arrays(_inputs(path), batch)
    except ValueError as error:
        msg = gettext(
            "{path}: {error}; only the batch dimension may be free: export with fixed sizes to profile the file",
            path=path,
            error=error,
        )
        raise DeviceError(msg) from error
