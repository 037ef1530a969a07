from compress.data.text.positions import positions_of, read_json


def test_positions_that_start_behind_the_padding_token_are_fewer():
    assert positions_of({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}) == 512
    assert positions_of({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}) == 512
    assert positions_of({"model_type": "gpt2", "n_positions": 1024}) == 1024
    assert positions_of({"model_type": "bilstm"}) is None
    assert positions_of({"max_position_embeddings": -1}) is None


def test_a_file_that_is_no_json_is_empty(tmp_path):
    (tmp_path / "list.json").write_text("[1]", encoding="utf-8")
    (tmp_path / "config.json").write_text('{"n_positions": 8}', encoding="utf-8")
    assert [read_json(tmp_path / name) for name in ("list.json", "missing.json", "config.json")] == [{}, {}, {"n_positions": 8}]
