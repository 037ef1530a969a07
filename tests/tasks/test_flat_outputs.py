from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.tasks.flat_outputs import flat_outputs, run_flat


@dataclass
class Named:
    logits: Tensor
    hidden: tuple[Tensor, ...]
    count: int = 0


def test_one_tensor_of_rows_is_returned_as_it_is() -> None:
    rows = torch.rand(3, 4)
    assert flat_outputs(rows) is rows
    assert flat_outputs(rows.view(3, 2, 2)).shape == (3, 4)


@pytest.mark.parametrize("kind", ["tuple", "mapping", "dataclass"])
def test_all_float_tensors_are_joined_by_sample(kind: str) -> None:
    a, b, scalar = torch.rand(3, 4), torch.rand(3, 2, 5), torch.rand(3)
    indices = torch.arange(3)
    outputs = {
        "tuple": (a, [b, scalar], indices),
        "mapping": {"logits": a, "hidden": (b, scalar), "indices": indices},
        "dataclass": Named(a, (b, scalar)),
    }[kind]
    expected = torch.cat([a, b.flatten(1), scalar[:, None]], dim=1)
    assert torch.equal(flat_outputs(outputs), expected)


def test_outputs_without_a_float_tensor_are_refused_by_their_type() -> None:
    with pytest.raises(ModelError, match="returns dict without a float tensor"):
        flat_outputs({"indices": torch.arange(3)})


def test_inputs_are_given_in_order() -> None:
    class Difference(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return a - b, b

    a, b = torch.full((2, 3), 5.0), torch.full((2, 3), 2.0)
    assert run_flat(Difference(), (a, b)).tolist() == [[3.0] * 3 + [2.0] * 3] * 2
