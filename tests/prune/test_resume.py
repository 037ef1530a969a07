from compress.prune.resume import LOG, LatencyLog, read_log


def test_a_log_is_read_back_only_by_the_pruning_that_wrote_it(tmp_path):
    path = tmp_path / LOG
    log = LatencyLog(key="a", dense_ms=1.5, round_to=8, layer_ms={"stem": 0.5}, speed=({"step": 1, "measured_speedup": 1.2},))
    path.write_text(log.model_dump_json())
    assert read_log(tmp_path, "a") == log
    assert read_log(tmp_path, "b") is None


def test_a_missing_or_damaged_log_counts_as_none(tmp_path):
    path = tmp_path / LOG
    assert read_log(tmp_path, "a") is None
    path.write_text('{"key": "a", "dense_ms":')
    assert read_log(tmp_path, "a") is None
