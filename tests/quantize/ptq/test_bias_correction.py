import numpy as np
import onnx_ir as ir
import torch

from compress.quantize.ptq.bias_correction import SAMPLES, bias_shift, limit_batches, output_moments
from tests.quantize.ptq.chain import Chain, X


def test_the_shift_is_the_difference_of_mean_outputs() -> None:
    """Two groups of three outputs; the reference takes the mean of all outputs."""
    generator = np.random.default_rng(0)
    w, x, x_hat = generator.normal(size=(2, 3, 5)), generator.normal(size=(2, 5, 40)), generator.normal(size=(2, 5, 40))
    w_hat = w + 0.1 * generator.normal(size=w.shape)
    expected = np.concatenate([(w_hat[group] @ x_hat[group] - w[group] @ x[group]).mean(1) for group in range(2)])
    np.testing.assert_allclose(bias_shift(w, w_hat, x.mean(2), x_hat.mean(2)), expected)


def test_batches_are_spread_and_hold_enough_samples() -> None:
    batches = [{"input": np.full((8, 1), index)} for index in range(64)]
    limited = limit_batches(batches)
    assert sum(len(batch["input"]) for batch in limited) == SAMPLES
    assert [int(batch["input"][0, 0]) for batch in limited] == list(range(0, 64, 4))
    assert len(limit_batches(batches[:3])) == 3


def test_moments_are_those_of_all_samples_at_once(chain: ir.Model, chain_network: Chain) -> None:
    """The channels of a convolution's result, against torch on one batch."""
    (stem,) = (node for node in chain.graph if node.name == "stem")
    name = str(stem.outputs[0].name)
    mean, deviation = output_moments(chain, [name], [{"input": X[:10]}, {"input": X[10:]}])[name]
    with torch.no_grad():
        outputs = chain_network.stem(torch.from_numpy(X)).double()
    np.testing.assert_allclose(mean, outputs.mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(deviation, outputs.std((0, 2, 3), correction=0), rtol=1e-4)
