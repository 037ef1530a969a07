"""Running a float ONNX network on calibration samples and watching its activations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx

from compress.backends import onnx_graph as graphs
from compress.core.errors import ConversionError
from compress.core.progress import NullReporter, Reporter
from compress.quantize.calibration.range_estimators import ActivationHistogram


def observe(
    model: onnx.ModelProto,
    names: Sequence[str],
    batches: Sequence[np.ndarray],
    *,
    counts: bool = True,
    relative: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, ActivationHistogram]:
    """Ranges and, with `counts`, histograms of activations. Memory does not grow with the number of batches.

    Args:
        model: Float network.
        names: Tensors to watch; the network's input may be among them.
        batches: Inputs, float32 (N, C, H, W) each.
        counts: Run a second time for histograms; minimum and maximum need one run.
        relative: Count values relative to their sample's as well.
        reporter: Shows a bar.

    Raises:
        ConversionError: There are no batches, or an activation is not finite; the first such tensor is named.
    """
    if not batches:
        msg = "there are no samples to calibrate on; the training split is empty"
        raise ConversionError(msg)
    given = model.graph.input[0].name
    watched = [name for name in names if name != given]
    runner = graphs.create_session(with_outputs(model, watched), threads=0)
    seen = {name: ActivationHistogram() for name in names}
    with (reporter or NullReporter()).bar("calibrate", len(batches) * (1 + counts)) as bar:
        for counting in (False, True)[: 1 + counts]:
            for batch in batches:
                found = dict(zip(watched, runner.run(watched, {given: batch}), strict=True)) if watched else {}
                found[given] = batch
                _take(seen, found, counting=counting)
                if relative and not counting:
                    for name, histogram in seen.items():
                        histogram.update_normalized_histogram(found[name], len(batch))
                bar.advance()
            _check(seen)
    return seen


def _take(seen: dict[str, ActivationHistogram], found: dict[str, np.ndarray], *, counting: bool) -> None:
    for name, histogram in seen.items():
        if counting:
            histogram.update_histogram(found[name])
        else:
            histogram.update_minmax(found[name])


def _check(seen: dict[str, ActivationHistogram]) -> None:
    for name, histogram in seen.items():
        if histogram.exceptional:
            msg = (
                f"activation {name!r} holds {histogram.exceptional} values that are not finite on the calibration samples; "
                "check the network's weights and the data's normalisation"
            )
            raise ConversionError(msg)


def with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """The same network that also gives the tensors named."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {value.name for value in copy.graph.output}
    for name in names:
        if name not in present:
            copy.graph.output.append(onnx.ValueInfoProto(name=name))  # the runtime knows its type
    return copy
