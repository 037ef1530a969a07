from compress.prune.stage import Prune


def test_a_pattern_that_yaml_read_as_a_time_is_understood():
    fields = {"granularity": "n:m", "target": {"sparsity": 0.5}}
    assert Prune(**fields, pattern=2 * 60 + 4).shape == "2:4"
    assert Prune(**fields, pattern=4 * 60 + 8).shape == "4:8"
