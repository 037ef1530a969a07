"""A text of a record is a plain one, or a message in whatever language the record is read."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from compress.core.fact import Fact
from compress.core.language import gettext, in_language, ngettext
from compress.core.record import Quantity, RecordedRow
from compress.core.sentences import render

DETAIL = gettext("{detail}, paired 95 % interval", detail=gettext("{network}, test split", network="torch"))


def test_a_record_in_one_language_is_read_in_another():
    stored = Quantity.measured(1.0, "ms", DETAIL).model_dump_json()
    with in_language("zh"):
        chinese = Quantity.model_validate_json(stored)
        assert "测试集" in chinese.detail
        assert chinese.model_dump_json() == stored
    assert Quantity.model_validate_json(stored).detail == DETAIL


def test_a_plain_text_of_an_older_record_stays_as_it_is():
    quantity = Quantity(unit="ms", how="not measured", detail="no reason {given}")
    assert json.loads(quantity.model_dump_json())["detail"] == "no reason {given}"


def test_values_of_facts_keep_their_types_and_their_messages():
    fact = Fact.of("mine.x", gettext("yes"), reason=DETAIL, count=5, text="5", share=2.0, on=True, many=("a", DETAIL, 1.0))
    read = Fact.model_validate_json(fact.model_dump_json())
    assert read == fact
    assert {name: type(value) for name, value in read.values.items() if name != "reason"} == {
        "count": int, "text": str, "share": float, "on": bool, "many": tuple,
    }  # fmt: skip
    with in_language("zh"):
        assert Fact.model_validate_json(fact.model_dump_json()).subject == "是"
        assert "测试集" in render(Fact.of("skipped", "x", reason=DETAIL))  # made in English, rendered in Chinese


def test_rows_of_tables_hold_messages_and_quantities():
    rows = TypeAdapter(tuple[RecordedRow, ...])
    quantity = Quantity.measured(1.0, "ms", DETAIL).model_dump(mode="json")
    stored = rows.dump_json(({"why": DETAIL, "time": quantity, "count": 3, "sizes": [1, 2]},))
    with in_language("zh"):
        (row,) = rows.validate_json(stored)
        assert "测试集" in str(row["why"])
        assert rows.dump_json((row,)) == stored


def test_plurals_are_kept():
    stored = Quantity.missing("1", ngettext("{number} class", "{number} classes", 3)).model_dump_json()
    assert Quantity.model_validate_json(stored).detail == "3 classes"
    with in_language("zh"):
        assert Quantity.model_validate_json(stored).detail == "3 个类别"


@pytest.mark.parametrize(
    "message",
    [
        {"message": "{x.__class__}", "values": {"x": "y"}},
        {"message": "{x:>999999999}", "values": {"x": 1}},
        {"message": "{x}", "values": {"y": 1}},
        {"message": "{x", "values": {"x": 1}},
        {"message": 3},
        {"message": "x", "values": [1]},
    ],
)
def test_a_template_that_asks_for_more_than_its_values_is_refused(message):
    with pytest.raises(ValidationError):
        Quantity(unit="ms", how="not measured", detail=message)
