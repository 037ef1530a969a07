from tests.search.test_study import begin, finish
from tests.search.toy_study import open_study, result


def test_the_latest_result_of_a_trial_counts_and_its_cost_stays(tmp_path):
    study = open_study(tmp_path / "journal.log")
    finish(study, begin(study), 0.9)
    (first,) = study.rows()
    again = result(0.9, 3.0).model_copy(update={"wall_s": 99.0})
    study.repeated.put(0, first.result, result(0.9, 2.0))
    study.repeated.put(0, first.result, again)
    (row,) = open_study(tmp_path / "journal.log").rows()
    assert row.result.objectives["latency_ms.host"].value == 3.0
    assert row.result.wall_s == first.result.wall_s
    assert (study.repeated.sessions(0), study.repeated.sessions(1)) == (2, 0)
