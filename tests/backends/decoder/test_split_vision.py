"""Vision and decoder of a network that answers questions on images, in a file each."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from compress.backends.decoder.split_vision import LANGUAGE, VISION, split_vision
from compress.backends.decoder.visual_session import VisualSession
from compress.backends.export_onnx import export_onnx
from compress.core.errors import ConversionError
from compress.core.network_spec import ImagePreprocessing, ImageTextPreprocessing, NetworkSpec, TextPreprocessing
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.image_text.visual_language import VisualLanguageTask

TOKENS = 40
SPEC = NetworkSpec(
    signature=Signature(
        inputs=(
            TensorSpec(name="image", shape=("batch", 3, 16, 16)),
            TensorSpec(name="input_ids", dtype="int64", shape=("batch", "sequence"), values=(0, TOKENS - 1)),
            TensorSpec(name="attention_mask", dtype="int64", shape=("batch", "sequence"), values=(1, 1)),
        ),
        outputs=(TensorSpec(name="logits", shape=("batch", "sequence", TOKENS)),),
        sizes={"sequence": AxisSizes(1, 6, 12)},
    ),
    preprocessing=ImageTextPreprocessing(
        image=ImagePreprocessing(mean=(0.5,) * 3, std=(0.5,) * 3),
        text=TextPreprocessing(tokenizer="0" * 64, max_length=12, end_token="[SEP]"),  # noqa: S106  # of a tokenizer
    ),
)


def export(path: Path, **args: int) -> None:
    decoder = {"source": "decoder:tiny", "args": {"layers": 2, "width": 32, "heads": 2, **args}}
    settings = ModelSettings(source="visual_language:small", args={"vision": {"width": 4}, "decoder": decoder})
    module = build_model(settings, SPEC, seed=0, base=Path(), task=VisualLanguageTask()).module
    export_onnx(module.eval(), SPEC, path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "model.onnx"
    decoder = {"source": "decoder:tiny", "args": {"layers": 2, "width": 32, "heads": 2}}
    settings = ModelSettings(source="visual_language:small", args={"vision": {"width": 4}, "decoder": decoder})
    module = build_model(settings, SPEC, seed=0, base=Path(), task=VisualLanguageTask()).module
    export_onnx(module.eval(), SPEC, path)
    return path


def test_both_parts_in_turn_answer_as_the_whole_file(exported, tmp_path):
    layout, places = split_vision(exported, tmp_path)
    assert (len(layout.layers), places) == (2, 4)
    random = np.random.default_rng(0)
    whole = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    with VisualSession(tmp_path) as session:
        for _ in range(2):  # the second image begins anew
            image, ids = random.normal(size=(1, 3, 16, 16)).astype(np.float32), random.integers(0, TOKENS, (1, 9))
            (expected,) = whole.run(None, {"image": image, "input_ids": ids, "attention_mask": np.ones_like(ids)})
            session.see({"image": image})
            found = [session.read(ids[0, :5].tolist()), *(session.read([token]) for token in ids[0, 5:].tolist())]
            np.testing.assert_allclose(np.stack(found), expected[0, 4:], atol=1e-5)
            assert all(values.shape[2] == places + 9 for values in session.past.values())
    assert {each.name for each in onnxruntime.InferenceSession(str(tmp_path / VISION)).get_inputs()} == {"image"}


def test_a_decoder_of_an_unknown_shape_stays_in_one_file(exported, tmp_path):
    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ConversionError, match=r"the attention layers of the decoder of .* are not known"):
        split_vision(tmp_path / "model.onnx", tmp_path)
    assert not (tmp_path / LANGUAGE).exists()


def test_a_file_that_joins_no_image_with_its_text_is_refused(exported, tmp_path):
    model = onnx.load(exported)
    for node in model.graph.node:
        if node.op_type == "Concat" and len(node.input) == 2:
            node.input[:] = [node.input[1], node.input[0]]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ConversionError, match="does not join the vectors of an image with those of a text"):
        split_vision(tmp_path / "model.onnx", tmp_path)
