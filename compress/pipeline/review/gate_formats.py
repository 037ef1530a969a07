"""Results of a gate for other tools: Markdown, JUnit XML, SARIF, annotations of GitHub Actions.

Sources: JUnit XML as Jenkins and GitLab read it (testmoapp/junitxml); SARIF 2.1.0 (OASIS); "Workflow commands for GitHub
Actions", which ask for %25, %0D and %0A in messages, and for %3A and %2C in properties.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping

from compress import __version__
from compress.core.language import gettext
from compress.core.printable import printable
from compress.pipeline.report.markdown import escape
from compress.pipeline.review.gate import GateResult

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def lines(result: GateResult) -> tuple[str, ...]:
    """One line for each breach."""
    return tuple(" ".join(printable(f"{finding.title}: {finding.text}").split()) for finding in result.breaches)


def markdown(result: GateResult) -> str:
    """A summary for a pull request."""
    failed = gettext("{count} of {total} failed", count=len(result.breaches), total=len(result.findings))
    word = gettext("passed") if result.passed else failed
    header = ("", escape(gettext("limit or comparison")), escape(gettext("result")), "")
    rows = [f"## {escape(result.run)}: {word}", "", f"| {' | '.join(header)} |", "| --- | --- | --- | --- |"]
    for finding in result.findings:
        cells = ("❌" if finding.breach else "✅", escape(finding.title), escape(finding.words), escape(finding.text))
        rows.append(f"| {' | '.join(cells)} |")
    return printable("\n".join(rows) + "\n")


def junit(result: GateResult) -> str:
    """One test case for each finding; a comparison that is not possible is a skipped one."""
    suite = ET.Element(
        "testsuite",
        name=_xml(result.run),
        tests=str(len(result.findings)),
        failures=str(len(result.breaches)),
        skipped=str(sum(finding.result == "not comparable" for finding in result.findings)),
        errors="0",
    )
    for finding in result.findings:
        case = ET.SubElement(suite, "testcase", classname=_xml(f"compress.{result.run}"), name=_xml(finding.title))
        if finding.breach:
            ET.SubElement(case, "failure", message=_xml(finding.text), type=finding.code)
        elif finding.result == "not comparable":
            ET.SubElement(case, "skipped", message=_xml(finding.text))
        else:
            ET.SubElement(case, "system-out").text = _xml(finding.text)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def sarif(result: GateResult) -> str:
    """SARIF 2.1.0: a rule for each finding, a result for each breach."""
    rules = [{"id": finding.code, "shortDescription": {"text": printable(finding.title)}} for finding in result.findings]
    results = [
        {"ruleId": finding.code, "level": "error", "message": {"text": printable(f"{finding.title}: {finding.text}")}}
        for finding in result.breaches
    ]
    driver = {"name": "compress", "version": __version__, "rules": rules}
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=1) + "\n"


def github(result: GateResult) -> str:
    """Workflow commands: an error for each breach, a warning for what is met and not shown."""
    commands = []
    for finding in result.findings:
        if finding.breach or (finding.kind == "limit" and finding.result == "not shown"):
            level = "error" if finding.breach else "warning"
            title = _command(f"{result.run}: {finding.title}").replace(":", "%3A").replace(",", "%2C")
            commands.append(f"::{level} title={title}::{_command(finding.text)}\n")
    return "".join(commands)


def _command(text: str) -> str:
    return printable(text.replace("%", "%25")).replace("\r", "%0D").replace("\n", "%0A")


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold."""
    return printable(text).translate({0xFFFE: "�", 0xFFFF: "�"})


Writer = Callable[[GateResult], str]
FORMATS: Mapping[str, Writer] = {"markdown": markdown, "junit": junit, "sarif": sarif, "github": github}
