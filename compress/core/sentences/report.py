"""Words of the report that are not of a fact: titles, headers, fixed sentences. Templates and writers take them from here."""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.language import gettext

WORDS: Mapping[str, str] = {
    # first page
    "front.limits": "Limits",
    "front.networks": "Networks",
    "front.devices": "Devices",
    "front.picture": "{metric} against latency",
    "front.points": "Points for review",
    "front.no_points": "The run has no warnings.",
    "front.more_points": "{count} more in the section {section}",
    "front.classes": "Classes",
    "front.rebuild": "Rebuild",
    "front.review": "Review",
    "front.no_budget": "The recipe has no budget, so that no limit was checked.",
    "front.more_limits": "{count} more limits are in the section {section}",
    "front.more_devices": "{count} more devices are in the section {section}",
    "front.header.limits": "limit|allowed|value|result|certainty",
    "front.header.device": "device",
    "front.header.latency": "latency p50",
    "front.header.run": "one run over a whole text, p50",
    "front.header.limit": "limit",
    "front.header.runtime": "runtime",
    "front.no_limit": "no limit",
    "front.change": "{metric} against the {reference}, on the same samples: {value}: {result}.",
    "front.change.worse": "worse, the interval excludes zero",
    "front.change.better": "better, the interval excludes zero",
    "front.change.unclear": "no difference shown, the interval contains zero",
    "front.change.no_interval": "without an interval",
    "front.changed_device": "{hardware} was measured, not this device",
    # rebuild
    "rebuild.command": "command",
    "rebuild.command.text": "compress pipeline recipe.yaml, in the folder of the run; compress check . compares its files",
    "rebuild.inputs": "inputs",
    "rebuild.inputs.text": "data {data}, seed {seed}; took {took}; energy of the run not measured",
    "rebuild.machine": "made with",
    "rebuild.artifact": "artifact",
    "rebuild.artifact.text": "{path}, SHA-256 {digest}…",
    # block for the reviewer
    "review.reviewer": "Reviewer",
    "review.date": "Date",
    "review.decision": "Decision",
    "review.accept": "accept",
    "review.conditions": "accept with conditions",
    "review.reject": "send back",
    "review.remarks": "Conditions, remarks",
    # classes
    "classes.title": "Classes and disagreements",
    "classes.none": (
        "Not recorded: the task has no classes, or the record is of a version that did not record them; the recipe can be run "
        "again."
    ),
    "classes.worst_metric": "Largest losses of {label}",
    "classes.lowest": "Lowest {label}",
    "classes.no_metric_loss": "No class lost {label}.",
    "classes.no_interval": "Values of single classes have no interval.",
    "classes.metric": "{label} of each class",
    "classes.metric.header": "class|samples|{label}, {reference}|{label}, artifact",
    "classes.agreement": "The {reference} and the artifact give the same class for {value} of the {samples} test samples.",
    "classes.pairs": (
        "{worse} samples that only the {reference} classified correctly, {better} that only the artifact did; "
        "exact McNemar test of equal error: p {p}."
    ),
    "classes.worst": "Largest losses of recall",
    "classes.no_loss": "No class lost recall.",
    "classes.table": "Recall and F1 of each class",
    "classes.shown": "the {shown} of {total} classes with the largest loss of recall",
    "classes.header": "class|samples|recall, {reference}|recall, artifact|change of recall|F1, {reference}|F1, artifact",
    "classes.confusions": "Confusions that changed most",
    "classes.confusions.header": "class|taken for|{reference}|artifact|change",
    "classes.disagreements": "Samples on which the {reference} and the artifact disagree",
    "classes.disagreements.shown": "{shown} of {total}, the ones that only the {reference} classified correctly first",
    "classes.disagreements.header": "sample|class|{reference}|confidence|artifact|confidence|correct",
    "classes.disagreements.header.texts": "sample|text|class|{reference}|confidence|artifact|confidence|correct",
    "classes.both_wrong": "neither",
    "classes.named": "{title}: {names}.",
    "classes.part": "{title}: {part}",
    "classes.sample": "test sample {sample}: {true}; the {reference} says {first}, the artifact says {second}",
    # groups
    "groups.title": "{label} of each group of test samples",
    "groups.header": "group|samples|{label}, {reference}|{label}, artifact|change",
    "groups.few": "{samples}, few",
    "groups.text": (
        "The largest loss first. The change is on the same samples, with its paired 95 % interval; of many groups, one in "
        "twenty intervals excludes zero by chance. Groups of fewer than {least} samples are marked."
    ),
    "groups.worst": (
        "{label} of group {group} against the {reference}: {change}; test samples: {samples}. It is the largest loss, and its "
        "interval excludes zero; groups compared: {count}, each with a 95 % interval of its own"
    ),
    # pictures
    "pareto.caption": (
        "Test {metric} against latency: this run, and the artifacts of earlier runs of the recipe on the same data and machine "
        "({count}, small hollow points). The dotted line connects the best compromises."
    ),
    "pareto.run": "run of {started}",
    # devices
    "devices.artifact": "The artifact on each device",
    "devices.part": "The artifact on each device, part {part} of {parts}",
    "devices.change": "Changes are against the {subject} on the same device.",
    # sequence lengths
    "lengths.title": "Latency by sequence length",
    "lengths.text": (
        "All networks and lengths of a batch size were timed in turns in one session. The peak memory is that of a process "
        "that ran the shorter lengths before. Tokens per second are samples per second × length."
    ),
    "lengths.table": "{subject} on {device}, batch {batch}",
    "lengths.header": "length",
    "lengths.change": "Changes are against the {subject} at the same length and batch size.",
    "lengths.x": "sequence length (tokens)",
    "lengths.x.samples": "length of the clip (audio samples)",
    "lengths.y": "latency p50 of one sample (ms)",
    "lengths.caption": (
        "Median latency over the sequence length on {device} at batch 1, both axes logarithmic; whiskers are 95 % intervals."
    ),
    "lengths.caption.estimated": (
        "Estimated latency over the sequence length on {device} at batch 1, both axes logarithmic; whiskers are error bands."
    ),
    "lengths.alternative": "{subject} at length {length}: {value}",
    # stages
    "stages.missing": "not run",
    "stages.missing.text": "The recipe names this stage, and the record has no result of it: the run ended before.",
    # licences
    "licences.title": "Licences of networks, data and packages",
    "licences.header": "part|origin|licence",
    "licences.text": (
        "As far as records and packages state them; this is neither legal advice nor complete. Parts at the top must be "
        "checked before the artifact ships."
    ),
    # tables
    "table.folded": "not measured: {names}",
    "table.folded_because": "not measured: {names} ({reason})",
    # page over all runs
    "history.title": "Runs in {folder}",
    "history.filter": "Filter",
    "history.filter.example": "name, verdict, stage …",
    "history.runs": "All runs",
    "history.trends": "Trends",
    "history.trends.text": (
        "From the oldest run to the latest. Each line has its own scale, from its smallest to its largest value."
    ),
    "history.count": "runs: {total}",
    "history.count.part": "runs: {shown} of {total}",
    # controls and appendix of the page
    "page.sections": "Sections",
    "page.open_all": "Open all sections",
    "page.close_all": "Close all sections",
    "page.notes": "Notes",
    "page.notes.text": "Where and how each number was measured or estimated, or why it was not. Numbers in tables point here.",
    "page.filter": "Filter rows of {table}",
    "page.sort": "Sort by",
    "page.shown": "{shown} of {total} rows",
    "page.note": "note",
    "page.skip": "Skip to the sections",
}
"""Words by key. `|` separates the headers of a table; braces are values."""


def word(key: str, **values: object) -> str:
    """The words of a key in the language in use, with the values of its fields."""
    return gettext(WORDS[key], **values)


def headers(key: str, **values: object) -> tuple[str, ...]:
    """The headers of a table."""
    return tuple(name.format(**values) for name in gettext(WORDS[key]).split("|"))
