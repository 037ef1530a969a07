from compress.prune.latency_log import FILE, LatencyLog, read_log


def test_a_log_is_read_back_only_by_the_pruning_that_wrote_it(tmp_path):
    path = tmp_path / FILE
    log = LatencyLog(key="a", dense_ms=1.5, round_to=8, speed=({"step": 1, "measured_speedup": 1.2},))
    path.write_text(log.model_dump_json())
    assert read_log(path, "a") == log
    assert read_log(path, "b") is None


def test_a_missing_or_damaged_log_counts_as_none(tmp_path):
    path = tmp_path / FILE
    assert read_log(path, "a") is None
    path.write_text('{"key": "a", "dense_ms":')
    assert read_log(path, "a") is None
