import numpy as np
import pytest
from onnx import TensorProto, helper

from compress.backends.onnxruntime import Runner
from compress.backends.run_split import outputs_of
from compress.core.errors import ConversionError
from tests.profile.onnx_models import model, network


@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_every_sample_is_answered_in_order(tiny, split, batch_size):
    outputs, targets = outputs_of(tiny, split, batch_size=batch_size)
    with Runner(tiny) as runner:
        one_by_one = [runner.run({"x": image[None].numpy()})[0][0] for image in split.inputs]
    np.testing.assert_allclose(outputs, np.array(one_by_one), rtol=1e-4, atol=1e-5)
    assert targets.tolist() == split.targets.tolist()


def test_a_fixed_batch_is_filled_up_and_cut_again(save, split, tiny):
    fixed = save("fixed.onnx", network(shape=[4, 3, 8, 8]))
    outputs, targets = outputs_of(fixed, split)
    assert outputs.shape == (11, 5)
    np.testing.assert_allclose(outputs, outputs_of(tiny, split)[0], rtol=1e-4, atol=1e-5)
    assert len(targets) == 11


def test_two_inputs_are_refused(save, split):
    built = model([helper.make_node("Add", ["x", "z"], ["y"])], {}, "y")
    built.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3, 8, 8]))
    with pytest.raises(ConversionError, match="inputs \\['x', 'z'\\]"):
        outputs_of(save("two.onnx", built), split)
