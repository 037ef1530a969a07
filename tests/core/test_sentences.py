"""Sentences from facts."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import compress
from compress.core.fact import Fact
from compress.core.run_record import RunRecord
from compress.core.sentences import ROOMS, SENTENCES, SUBJECTS, render, render_subject

PACKAGE = Path(compress.__file__).parent
ROOT = PACKAGE.parent


def literals() -> Iterator[str]:
    """Every string in the package outside the tables of sentences."""
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "sentences":
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            yield from (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def codes() -> Iterator[str]:
    """Every literal code of a fact that the package makes: `Fact.of("code", ...)` and `Fact(code="code", ...)`."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            match node.func:
                case ast.Attribute(value=ast.Name(id="Fact"), attr="of"):
                    code = node.args[0]
                case ast.Name(id="Fact"):
                    code = next(keyword.value for keyword in node.keywords if keyword.arg == "code")
                case _:
                    continue
            if isinstance(code, ast.IfExp):
                yield from (ast.literal_eval(code.body), ast.literal_eval(code.orelse))
            elif isinstance(code, ast.Constant):
                yield code.value


def test_every_code_has_a_sentence_and_every_sentence_is_used() -> None:
    """A code stands as a literal where its fact is made or chosen, so that both are found by searching for it."""
    assert set(codes()) <= set(SENTENCES)
    assert set(SENTENCES) - {"text", "skipped"} <= set(literals())
    assert set(SUBJECTS) <= set(SENTENCES)


def test_a_code_names_its_room() -> None:
    for room in ROOMS:
        name = room.__name__.rpartition(".")[2]
        assert all(name.startswith(code.partition(".")[0]) for code in room.SENTENCES)


def test_sentences_take_subject_and_values() -> None:
    fact = Fact.of("quantize.float_no_kernel", "head", operator="Erf", runtime="onnxruntime")
    assert (fact.code, fact.subject) == ("quantize.float_no_kernel", "head")
    assert render(fact) == "ONNX Runtime has no int8 kernel of Erf"
    assert render_subject(fact) == "Erf head (onnxruntime)"


def test_a_code_of_another_package_is_readable() -> None:
    assert render(Fact.of("mine.layer_too_small", "conv1", size=3)) == "layer too small: conv1 (size 3)"


def test_a_record_that_holds_sentences_keeps_them() -> None:
    """`older_record.json` is of the default recipe's run before facts were recorded, with shortened tables."""
    path = Path(__file__).with_name("older_record.json")
    record = RunRecord.load(path)
    stages = json.loads(path.read_text(encoding="utf-8"))["stages"]
    assert any(stage.notes for stage in record.stages)
    for stage, older in zip(record.stages, stages, strict=True):
        assert [render(note) for note in stage.notes] == older["notes"]
        assert len(stage.skipped) == len(older["skipped"])
