"""Collect histograms of activations by running a float ONNX network on calibration samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.feeds import feeds_size
from compress.backends.runner_protocol import Feeds
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.quantize.calibration.range_estimators import ActivationHistogram

Histograms = dict[str, ActivationHistogram]


def observe(
    model: ir.Model,
    names: Sequence[str],
    batches: Sequence[Feeds],
    *,
    counts: bool = True,
    normalized: bool = False,
    reporter: Reporter | None = None,
) -> Histograms:
    """Extremes and, with `counts`, histograms of activations. Memory does not grow with the number of batches.

    Args:
        model: Float network.
        names: Tensors to observe, possibly inputs of the network.
        batches: Batches of inputs by name.
        counts: Run the batches a second time for histograms.
        normalized: Also collect the histogram in which each value is weighted by the inverse energy of its sample.
        reporter: Shows a progress bar.

    Returns:
        Histogram by name of the tensor.

    Raises:
        ConversionError: There are no batches, or an activation is not finite; the message names the first such tensor.
    """
    if not batches:
        msg = gettext("there are no samples for calibration: the training split is empty")
        raise ConversionError(msg)
    inputs = {value.name for value in model.graph.inputs}
    computed = [name for name in names if name not in inputs]
    session = onnx_session.create_session(graphs.with_outputs(model, computed), threads=0)
    histograms = {name: ActivationHistogram() for name in names}
    with (reporter or NullReporter()).bar("calibrate", len(batches) * (1 + counts)) as bar:
        for counting in (False, True)[: 1 + counts]:
            for batch in batches:
                arrays = dict(zip(computed, session.run(computed, batch), strict=True)) if computed else {}
                arrays |= batch
                _update(histograms, arrays, counting=counting, samples=feeds_size(batch) if normalized else None)
                bar.advance()
            _check_finite(histograms)
    return histograms


def _update(histograms: Histograms, arrays: Mapping[str, np.ndarray], *, counting: bool, samples: int | None) -> None:
    for name, histogram in histograms.items():
        if counting:
            histogram.update_histogram(arrays[name])
            continue
        histogram.update_minmax(arrays[name])
        if samples is not None:
            histogram.update_normalized_histogram(arrays[name], samples)


def _check_finite(histograms: Histograms) -> None:
    for name, histogram in histograms.items():
        if histogram.exceptional:
            msg = gettext(
                "activation {name!r} has {exceptional} values that are not finite on the calibration samples; "
                "check the weights of the network and the normalisation of the data",
                name=name,
                exceptional=histogram.exceptional,
            )
            raise ConversionError(msg)
