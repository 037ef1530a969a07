from dataclasses import replace

import pytest

from compress.substitute import choose_auto as choices
from compress.train.checkpoints import Checkpoints
from tests.substitute.runs import QUICK, equal, run


class InterruptedTestError(Exception):
    pass


def test_fine_tuning_records_its_curve(candidate, context):
    result = run(candidate, context, recover=QUICK)
    replaced, recovered = result.tables["substitution_steps"][-2:]
    assert recovered["step"] == "recovered"
    assert len(result.curves["recovery loss"].y) == 2
    assert result.curves["substitution"].y[-1] == recovered["accuracy_validation"]
    assert result.results["accuracy_replaced"].value == replaced["accuracy_validation"]
    assert not list(context.folder.glob(choices.FILE))


def test_interrupted_fine_tuning_continues_to_equal_weights(candidate, context, monkeypatch, tmp_path):
    whole = run(candidate, context, recover=QUICK)
    other = replace(context, folder=tmp_path / "other")
    save_state = Checkpoints.save

    def save_and_stop(self, state):
        save_state(self, state)
        raise InterruptedTestError

    monkeypatch.setattr(Checkpoints, "save", save_and_stop)
    with pytest.raises(InterruptedTestError):
        run(candidate, other, recover=QUICK)
    monkeypatch.undo()
    again = run(candidate, other, recover=QUICK)
    assert again.tables == whole.tables
    assert equal(again.candidate.module, whole.candidate.module)
