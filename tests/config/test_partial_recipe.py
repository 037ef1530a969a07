from compress.config.partial_recipe import read_partially

TREE = {
    "name": "small",
    "data": {"source": "digits"},
    "model": {"source": "torchvision:resnet18"},
    "teacher": [{"source": "torchvision:resnet50", "train": {"epochs": 2}}, {"source": 5}],
    "stages": [{"train": {"epochs": 2}}, "export", {"unknown": {}}, {"train": {"epochs": "many"}}],
    "budget": {"size_mb": 1.0},
}


def test_valid_parts_are_read_beside_faulty_ones() -> None:
    partial = read_partially(TREE, [("data",)])
    assert partial.data is None
    assert [path for path, _ in partial.models] == [("model",), ("teacher", 0)]
    assert partial.has_teacher
    assert partial.budget is not None


def test_known_stages_keep_their_indices() -> None:
    chain = read_partially(TREE, []).chain
    assert [(entry.path, entry.stage is not None) for entry in chain] == [
        (("stages", 0, "train"), True),
        (("stages", 1, "export"), True),
        (("stages", 3, "train"), False),
    ]


def test_a_stage_is_read_without_its_faulty_value() -> None:
    chain = read_partially(TREE, [("stages", 3, "train", "epochs")]).chain
    assert chain[-1].stage is not None


def test_the_tree_stays_as_it_was() -> None:
    read_partially(TREE, [("model", "source"), ("budget",)])
    assert TREE["model"] == {"source": "torchvision:resnet18"}
    assert "budget" in TREE
