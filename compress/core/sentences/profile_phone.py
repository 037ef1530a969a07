"""Sentences of measurements on Android devices."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.sentences.table import Sentences


def _listed(fact: Fact, name: str) -> str:
    values = fact.values[name]
    return ", ".join(map(str, values)) if isinstance(values, tuple) else str(values)


def _phone_state(fact: Fact) -> str:
    mode = fact.values["power_mode"]
    required = gettext("; the contract requires {power_mode}", power_mode=mode) if mode else ""
    if not fact.values["before"]:
        return gettext(
            "battery and temperatures cannot be read on {subject}{required}", subject=fact.subject, required=required
        )
    return gettext(
        "clocks not locked by this measurement; before: {before}; after: {after}{required}",
        before=_listed(fact, "before"),
        after=_listed(fact, "after"),
        required=required,
    )


SENTENCES: Sentences = {
    "profile.adb_untried": (
        "measuring over adb was tested with a stand-in for adb only, never with a phone: compare the first figures with the "
        "output of the benchmark program"
    ),
    "profile.measured_on_phone": (
        "measured on {subject} (Android {android}) for the profile {profile}: {runtime}, {threads} threads, random inputs; "
        "files timed in turns, in {turns} runs of the program each"
    ),
    "profile.phone_state": _phone_state,
    "profile.runtime_choice_not_phone": (
        "the benchmark program of the connection runs {runtime} only; other runtimes were not tried"
    ),
}
SUBJECTS: Sentences = {"profile.runtime_choice_not_phone": "choice of runtimes on {subject}"}
