"""Build a TensorRT engine from an ONNX file with the Python API.

Networks are strongly typed: the ONNX file determines the precision (float32, or int8 with Q/DQ pairs), not builder flags or a
calibrator. TensorRT 10.x needs the flag STRONGLY_TYPED; 11.x is always strongly typed and ignores it. An engine runs only on
the type of GPU and the version of TensorRT that it was built with, so it is built on the device. Tests without a GPU check the
used names against the published API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.core.atomic_files import write_with
from compress.core.errors import ConversionError, MissingPackageError
from compress.core.language import gettext
from compress.core.signature import AxisSizes, Signature

MIB = 2**20
BATCHES = AxisSizes(1, 1, 8)
"""Least, typical and largest batch size of an engine; kernels are selected for the typical size."""
InputProfile = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Least, typical and largest shape of an input."""


@dataclass(frozen=True)
class BuilderOptions:
    """Options of TensorRT's builder.

    Attributes:
        workspace_mib: Scratch memory that kernels may use, MiB.
        timing_cache: File of kernel timings, read if it exists and written; makes the next build faster and reproducible.
        sparse: Allow kernels for 2:4 sparse weights.
        dla: Index of the DLA core to run on; layers that it does not support run on the GPU. TensorRT 10.x on Jetson only.
    """

    workspace_mib: int = 1024
    timing_cache: Path | None = None
    sparse: bool = False
    dla: int | None = None


def free_shapes(signature: Signature, batch: AxisSizes = BATCHES) -> dict[str, InputProfile]:
    """Shapes of the inputs with a free axis for an optimization profile.

    Args:
        signature: Signature of the network with sizes of its free axes.
        batch: Batch sizes.

    Raises:
        SignatureError: The size of a free axis is not known.
    """
    free = {spec.name for spec in signature.inputs if any(isinstance(axis, str) for axis in spec.shape)}
    return {name: profile for name, profile in signature.shape_profile(batch).items() if name in free}


def build_engine(
    onnx_path: Path,
    engine_path: Path,
    shapes: Mapping[str, InputProfile],
    *,
    options: BuilderOptions = BuilderOptions(),
) -> None:
    """Build an engine and write it atomically. Needs a GPU and takes minutes.

    Args:
        onnx_path: Float or Q/DQ network.
        engine_path: Path of the new engine.
        shapes: Shapes of the inputs with a free axis, by name, see `free_shapes`.
        options: Builder options.

    Raises:
        MissingPackageError: TensorRT is not installed.
        ConversionError: The parser or the builder rejects the network; the message has the first error.
    """
    try:
        import tensorrt as trt
    except ImportError as error:
        raise MissingPackageError("tensorrt", "tensorrt", gettext("building a TensorRT engine")) from error
    builder = trt.Builder(trt.Logger(trt.Logger.WARNING))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse_from_file(str(onnx_path)):
        msg = gettext(
            "TensorRT {version} rejects {onnx_path}: {error} ({count} errors)",
            version=trt.__version__,
            onnx_path=onnx_path,
            error=parser.get_error(0),
            count=parser.num_errors,
        )
        raise ConversionError(msg)
    config = _config(trt, builder, shapes, options)
    timing_cache = options.timing_cache
    if timing_cache is not None:
        timings = timing_cache.read_bytes() if timing_cache.exists() else b""
        config.set_timing_cache(config.create_timing_cache(timings), ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        msg = gettext(
            "TensorRT {version} cannot build an engine from {onnx_path}; see its log above",
            version=trt.__version__,
            onnx_path=onnx_path,
        )
        raise ConversionError(msg)
    write_with(engine_path, lambda aside: aside.write_bytes(engine))
    if timing_cache is not None:
        write_with(timing_cache, lambda aside: aside.write_bytes(config.get_timing_cache().serialize()))


def _config(trt: Any, builder: Any, shapes: Mapping[str, InputProfile], options: BuilderOptions) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * MIB)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.sparse:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if options.dla is not None:
        config.default_device_type, config.DLA_core = trt.DeviceType.DLA, options.dla
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    profile = builder.create_optimization_profile()
    for name, sizes in shapes.items():
        profile.set_shape(name, *sizes)
    config.add_optimization_profile(profile)
    return config
