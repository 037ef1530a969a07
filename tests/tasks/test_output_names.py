import pytest
import torch

from compress.core.errors import ModelError
from compress.tasks.output_names import name_outputs


def test_tensors_sequences_and_mappings_are_named_and_auxiliary_outputs_left_out():
    a, b = torch.ones(2, 3), torch.zeros(2)
    assert name_outputs(a, ["logits"])["logits"] is a
    assert list(name_outputs((a, b), ["logits"])) == ["logits"]
    assert name_outputs({"boxes": b, "logits": a}, ["logits", "boxes"]) == {"logits": a, "boxes": b}


def test_what_is_missing_or_no_tensor_is_named():
    with pytest.raises(ModelError, match="no tensor for boxes; it must return, in this order: logits, boxes"):
        name_outputs((torch.ones(1),), ["logits", "boxes"])
    with pytest.raises(ModelError, match="the network returns str"):
        name_outputs("nothing", ["logits"])
