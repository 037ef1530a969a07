"""Exports that were compared with their network: empty files in the cache, named by a hash of all that the result depends on.

A stage that takes over the export of another one need not run both again. Only comparisons that passed are recorded. The hash
covers the file, the network with its code (`fingerprint_object`), the samples and the tolerances.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor, nn

from compress.backends import onnx_files
from compress.backends.eval_mode import eval_mode
from compress.backends.exporter_parity import check_exporter_parity, reference_outputs
from compress.core.atomic_files import sha256, write_text
from compress.core.object_fingerprint import fingerprint_object
from compress.core.stage import OnnxOptions

FOLDER = "parity"


def check_parity_once(path: Path, module: nn.Module, inputs: tuple[Tensor, ...], options: OnnxOptions, cache: Path) -> None:
    """Compare an export with its network, unless the cache says that they agree.

    Args:
        path: The export.
        module: The network; left as it was.
        inputs: In the order of its signature, (N, …) each.
        options: How far they may be apart.
        cache: Folder for results that stages and runs share.

    Raises:
        ParityError: They are further apart; names the first node.
        ConversionError: One of them does not run.
    """
    record = _record(path, module, inputs, options, cache)
    if record is None or not record.exists():
        check_exporter_parity(onnx_files.load(path), reference_outputs(module, inputs), options)
        record_parity(path, module, inputs, options, cache)


def record_parity(path: Path, module: nn.Module, inputs: tuple[Tensor, ...], options: OnnxOptions, cache: Path) -> None:
    """Record that an export agrees with its network; arguments as of `check_parity_once`."""
    record = _record(path, module, inputs, options, cache)
    if record is not None:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_text(record, "")


def _record(path: Path, module: nn.Module, inputs: tuple[Tensor, ...], options: OnnxOptions, cache: Path) -> Path | None:
    """The file that stands for a comparison; None where its hash would not cover all that the result depends on."""
    with eval_mode(module):
        network = fingerprint_object(module)
    if network.unread or path.with_name(f"{path.name}.data").exists():
        return None
    samples = hashlib.sha256()
    for values in inputs:
        samples.update(str((tuple(values.shape), values.dtype)).encode() + values.contiguous().numpy().tobytes())
    parts = (sha256(path), network.sha256, samples.hexdigest(), str(options.relative), str(options.absolute))
    return cache / FOLDER / hashlib.sha256(" ".join(parts).encode()).hexdigest()
