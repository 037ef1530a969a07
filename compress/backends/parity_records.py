"""Cache of passed parity checks: empty files, named by a hash of everything that the result depends on.

A stage that uses the export of another stage need not check it again. The hash covers the file, the network with its code
(`fingerprint_object`), the samples and the tolerances.
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
    """Compare an export with its network, unless the cache contains a passed check.

    Args:
        path: The export.
        module: The network; not changed.
        inputs: Inputs in the order of the signature, (N, …) each.
        options: Tolerances.
        cache: Cache folder that stages and runs share.

    Raises:
        ParityError: The outputs differ by more than the tolerance; the message names the first node.
        ConversionError: The export or the network does not run.
    """
    record = _record(path, module, inputs, options, cache)
    if record is None or not record.exists():
        check_exporter_parity(onnx_files.load(path), reference_outputs(module, inputs), options)
        record_parity(path, module, inputs, options, cache)


def record_parity(path: Path, module: nn.Module, inputs: tuple[Tensor, ...], options: OnnxOptions, cache: Path) -> None:
    """Record that an export agrees with its network; see `check_parity_once` for the arguments."""
    record = _record(path, module, inputs, options, cache)
    if record is not None:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_text(record, "")


def _record(path: Path, module: nn.Module, inputs: tuple[Tensor, ...], options: OnnxOptions, cache: Path) -> Path | None:
    """Path of the record of a check; None if a hash cannot cover everything that the result depends on."""
    with eval_mode(module):
        network = fingerprint_object(module)
    if network.unread or path.with_name(f"{path.name}.data").exists():
        return None
    samples = hashlib.sha256()
    for values in inputs:
        samples.update(str((tuple(values.shape), values.dtype)).encode() + values.contiguous().numpy().tobytes())
    parts = (sha256(path), network.sha256, samples.hexdigest(), str(options.relative), str(options.absolute))
    return cache / FOLDER / hashlib.sha256(" ".join(parts).encode()).hexdigest()
