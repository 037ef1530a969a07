"""Fuse the attention and GELU of a transformer for ONNX Runtime on this machine, where that is measured to be faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.feeds import fit_feeds
from compress.backends.fusion.fuse import TOLERANCE, Fusion, fuse
from compress.backends.onnx_cleanup import strip
from compress.backends.open_runner import open_runner
from compress.backends.runner_protocol import Feeds
from compress.config.devices import Device
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.progress import Reporter
from compress.core.record import Quantity
from compress.core.signature import Signature
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import speedup, time_runners
from compress.profile.served_sizes import padded_example, served_feeds

RUNTIME = "onnxruntime"
QUANTIZED_TOLERANCE = 0.05
"""Largest relative difference for a quantized file: float differences of 1e-7 round a few activations to other integers."""


def fuse_if_faster(
    source: Path,
    target: Path,
    signature: Signature,
    device: Device,
    *,
    seconds: float,
    reporter: Reporter,
    tolerance: float = TOLERANCE,
) -> tuple[bool, tuple[Fact, ...]]:
    """Write a fused file if ONNX Runtime on this machine is faster with it, at the sizes at which the network is used.

    It is faster if the interval of the speed-up is above 1 at some size and below 1 at none.

    Args:
        source: ONNX file.
        target: File to write; it may be `source`.
        signature: Inputs of the network, with the sizes of its free axes.
        device: Profile of this machine.
        seconds: Timing of each file at each size.
        reporter: Shows a progress bar.
        tolerance: Largest difference of the outputs, as a fraction of the largest; see `QUANTIZED_TOLERANCE`.

    Returns:
        Whether the fused file was written, and facts on what was fused and measured; no facts if there is nothing to fuse.
    """
    feeds = served_feeds(signature, device.contract.batch)
    if device.runtime != RUNTIME or not feeds:
        return False, ()
    model = onnx_files.load(source)
    try:
        fusion = fuse(graphs.to_ir(model), [padded_example(signature), next(iter(feeds.values()))], tolerance=tolerance)
    except CompressError as error:
        return False, (Fact.of("profile.fusion_failed", source.name, error=str(error)),)
    if fusion is None:
        return False, ()
    strip(fusion.model)
    with TemporaryDirectory() as folder:
        fused = Path(folder) / "fused.onnx"
        onnx_files.save(graphs.to_proto(fusion.model), fused)
        gains = _speedups(source, fused, feeds, device, seconds, reporter)
        is_faster = any(gain.low is not None and gain.low > 1 for gain in gains.values()) and not any(
            gain.high is not None and gain.high < 1 for gain in gains.values()
        )
        if is_faster:
            onnx_files.save(graphs.to_proto(fusion.model), target)
    return is_faster, (_fact(source, fusion, gains, is_faster=is_faster),)


def _speedups(
    source: Path, fused: Path, feeds: Mapping[str, Feeds], device: Device, seconds: float, reporter: Reporter
) -> dict[str, Quantity]:
    """Speed-up of the fused file by size, each size in sessions of its own."""
    files = {"source": source, "fused": fused}
    with ExitStack() as stack:
        runners = {
            (name, size): stack.enter_context(open_runner(RUNTIME, path, threads=device.threads))
            for size in feeds
            for name, path in files.items()
        }
        inputs = {" ".join(key): fit_feeds(feeds[key[1]], runner.shapes(), runner.path) for key, runner in runners.items()}
        named = {" ".join(key): runner for key, runner in runners.items()}
        timings = time_runners(named, inputs, TimingPlan.of(seconds), batch=device.contract.batch, reporter=reporter)
    return {size: speedup(timings[f"source {size}"], timings[f"fused {size}"]) for size in feeds}


def _fact(source: Path, fusion: Fusion, gains: Mapping[str, Quantity], *, is_faster: bool) -> Fact:
    listed: Sequence[str] = [
        f"{gain.value:.2f}× ({gain.low:.2f} to {gain.high:.2f}) {size}" if gain.low is not None else f"{gain.value}× {size}"
        for size, gain in gains.items()
    ]
    return Fact.of(
        "profile.fused" if is_faster else "profile.fusion_not_faster",
        source.name,
        attentions=fusion.attentions,
        gelus=fusion.gelus,
        speedups="; ".join(listed),
        difference=fusion.difference,
    )
