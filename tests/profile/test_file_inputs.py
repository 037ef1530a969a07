import numpy as np
import pytest

from compress.core.errors import DataError, SignatureError
from compress.profile.file_inputs import load_feeds, plan_inputs
from compress.profile.input_shapes import parse_shapes
from tests.profile import onnx_models as models


def test_typical_sizes_are_tried_until_one_runs_and_marked(save):
    inputs = plan_inputs(save("lines.onnx", models.lines_of_text(48)))
    assert inputs.describe() == "x 1×3×48×320 (height 48, width 320: typical, not given)"
    inputs = plan_inputs(save("image.onnx", models.network(shape=["n", 3, "h", "w"])))
    assert inputs.describe(2) == "x 2×3×320×320 (h 320, w 320: typical, not given)"


def test_integers_stay_in_their_table_and_masks_are_one(save):
    inputs = plan_inputs(save("tokens.onnx", models.tokens()))
    assert inputs.describe() == "ids 1×128, mask 1×128 (sequence 128: typical, not given)"
    feeds = inputs.feeds(noise=0)
    assert {feeds["ids"].min(), feeds["ids"].max()} == {0, 8}
    assert feeds["mask"].all()
    assert feeds["ids"].dtype == np.int64


def test_states_and_scalars_are_fed_and_the_branch_has_its_value(save):
    inputs = plan_inputs(save("streaming.onnx", models.streaming()))
    assert inputs.describe() == ("input 1×512, state 2×1×4, sr scalar (input_axis1 512, state_axis1 1: typical, not given)")
    assert inputs.feeds()["sr"] == 16000


def test_given_sizes_are_not_marked_and_a_given_batch_counts(save):
    path = save("lines.onnx", models.lines_of_text(48))
    assert plan_inputs(path, shapes=parse_shapes(["x:4x3x48x100"])).describe(1) == "x 4×3×48×100"


def test_a_sweep_has_its_largest_size_first_and_its_points_on_demand(save):
    inputs = plan_inputs(save("tokens.onnx", models.tokens()), shapes=parse_shapes(["ids:2x16..64"]))
    assert inputs.sweep == ("sequence", (16, 64))
    assert inputs.feeds()["mask"].shape == (2, 64)
    assert inputs.feeds(sizes={"sequence": 16})["mask"].shape == (2, 16)


def test_no_size_that_fits_is_said_with_those_that_were_tried(save):
    with pytest.raises(
        SignatureError, match=r"it runs at no typical size of its free axes \(tried height 320, width 320; .*--shape x:1x3x"
    ):
        plan_inputs(save("lines.onnx", models.lines_of_text(47)))


def test_given_arrays_are_fed_and_give_the_sizes(save, tmp_path):
    path, ids = save("tokens.onnx", models.tokens()), np.array([[8, 0, 3]])
    np.savez(tmp_path / "feeds.npz", ids=ids)
    inputs = plan_inputs(path, arrays=load_feeds(tmp_path / "feeds.npz"))
    assert inputs.describe() == "ids 1×3, mask 1×3"
    assert inputs.feeds()["ids"].tolist() == [[8, 0, 3]]
    assert inputs.feeds(sizes={"sequence": 5})["ids"].tolist() == [[0] * 5]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": np.zeros((1, 3), np.float64)}, r"'ids' is float64, but the input of .*ids: int64 batch×sequence; convert"),
        ({"words": np.zeros((1, 3), np.int64)}, r"has no input 'words'; it has ids"),
        ({"ids": np.array([["a"]])}, r"'ids' is str"),
    ],
)
def test_arrays_of_another_name_or_type_are_refused(save, arrays, message):
    with pytest.raises(DataError, match=message):
        plan_inputs(save("tokens.onnx", models.tokens()), arrays=arrays)


def test_arrays_of_another_shape_are_refused(save):
    with pytest.raises(SignatureError, match=r"shape 3 has 1 axes, but the input has 2: ids"):
        plan_inputs(save("tokens.onnx", models.tokens()), arrays={"ids": np.zeros(3, np.int64)})


def test_a_file_of_arrays_that_is_none_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    for name, message in (
        ("text.npz", r"is not an \.npz file of numbers"),
        ("one.npy", "contains one array without a name"),
        ("objects.npz", r"is not an \.npz file of numbers"),
        ("none.npz", "cannot read .*No such file"),
    ):
        with pytest.raises(DataError, match=message):
            load_feeds(tmp_path / name)
