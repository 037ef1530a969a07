"""Results of a gate as other tools read them."""

import json
import xml.etree.ElementTree as ET

import pytest

from compress.pipeline.review.gate import Finding, GateResult
from compress.pipeline.review.gate_formats import FORMATS, github, junit, lines, markdown, sarif

EVIL = 'a"<b>&|*x*\x1b[31m\ud800\x00\uffff %,:\n::error::no'
RESULT = GateResult(
    EVIL,
    (
        Finding("limit", "limit/size_bytes", EVIL, EVIL, breach=True, result="missed"),
        Finding("limit", "limit/accuracy", "accuracy", "97 %", breach=False, result="not shown"),
        Finding("baseline", "baseline/accuracy", "accuracy", "equal", breach=False, result="no difference shown"),
        Finding("baseline", "baseline/power", "power", "no sensor", breach=False, result="not comparable"),
    ),
)


def test_junit_is_xml_with_the_counts_of_its_cases() -> None:
    suite = ET.fromstring(junit(RESULT)).find("testsuite")  # noqa: S314  # written by the line before
    assert suite is not None
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases)) == "4"
    assert suite.get("failures") == str(len(suite.findall("testcase/failure"))) == "1"
    assert suite.get("skipped") == str(len(suite.findall("testcase/skipped"))) == "1"


def test_sarif_names_a_rule_for_every_result() -> None:
    (run,) = json.loads(sarif(RESULT))["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert len(rules) == 4
    assert [result["ruleId"] for result in run["results"]] == ["limit/size_bytes"]


def test_github_gets_one_command_a_line_and_no_other() -> None:
    commands = github(RESULT).splitlines()
    assert [command.split(" ")[0] for command in commands] == ["::error", "::warning"]
    assert commands[0].count("::") == 3 + commands[0].count("::error::no")
    title = commands[0].split("title=")[1].split("::")[0]
    assert "%25" in title
    assert "," not in title


def test_a_summary_is_a_table_that_markup_does_not_break() -> None:
    rows = [line for line in markdown(RESULT).splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(RESULT.findings)
    assert "<b>" not in markdown(RESULT)


@pytest.mark.parametrize("name", list(FORMATS))
def test_no_format_passes_on_control_characters(name: str) -> None:
    text = FORMATS[name](RESULT)
    text.encode("utf-8")
    assert "\x1b" not in text
    assert "\x00" not in text


def test_a_breach_is_one_line() -> None:
    assert len(lines(RESULT)) == 1
    assert "\n" not in lines(RESULT)[0]
