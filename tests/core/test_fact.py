from pydantic import TypeAdapter

from compress.core.fact import SKIPPED, TEXT, Fact, Facts
from compress.core.record import StageRecord
from compress.core.run_record import RunRecord
from compress.core.sentences import render, render_subject


def test_values_are_keyword_arguments_whatever_their_names() -> None:
    fact = Fact.of("prune.code", "conv1", code=3, subject="other")
    assert (fact.code, fact.subject, dict(fact.values)) == ("prune.code", "conv1", {"code": 3, "subject": "other"})


def test_equal_facts_are_one_in_a_set() -> None:
    facts = {Fact.of("a.b", "c", x=1), Fact.of("a.b", "c", x=1), Fact.of("a.b", "c", x=2)}
    assert len(facts) == 2


def test_older_forms_become_facts_and_others_stay() -> None:
    fact = Fact.of("a.b", values=(1, None, "x"))
    read = TypeAdapter(Facts).validate_python(["a sentence", {"what": "conv1", "reason": "too small"}, fact.model_dump(), fact])
    assert [entry.code for entry in read] == [TEXT, SKIPPED, "a.b", "a.b"]
    assert read[1] == Fact.of(SKIPPED, "conv1", reason="too small")
    assert read[2] == read[3] == fact


def test_facts_of_a_record_round_trip_and_older_sentences_load(record: RunRecord) -> None:
    fact = Fact.of("mine.code", "conv1", names=("a", "b"), count=3, ratio=0.5, flag=True, nothing=None)
    stage = record.stages[0].model_copy(update={"notes": (fact,)})
    assert StageRecord.model_validate_json(stage.model_dump_json()) == stage
    older = stage.model_dump(mode="json") | {"notes": ["a sentence"], "skipped": [{"what": "conv1", "reason": "too small"}]}
    read = StageRecord.model_validate(older)
    assert [render(note) for note in read.notes] == ["a sentence"]
    assert [(render_subject(skip), render(skip)) for skip in read.skipped] == [("conv1", "too small")]
