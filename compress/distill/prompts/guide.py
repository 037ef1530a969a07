"""Prompts of a guide: templates for a skill or a domain, whose fields are filled with values or prompts of the data.

    templates: ["Reverse {prompt}.", "Write {prompt} backwards."]      {prompt} is a prompt of the training data
    templates: ["Explain {topic} to {who}."], fields: {topic: [...], who: [...]}

Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from string import Formatter
from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from compress.core.errors import nearest
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.distill.prompts.written_text import GuidedPrompt

PROMPT = "prompt"
"""Field of templates for a prompt of the data."""


def _check_template(template: str) -> str:
    """The template, if its fields are plain names."""
    try:
        names = [name for _, name, *form in Formatter().parse(template) if name is not None and _is_plain(name, *form)]
    except ValueError as error:
        msg = gettext("template {template!r}: {error}; write a brace of the text twice: {{{{", template=template, error=error)
        raise ValueError(msg) from error
    if bad := [name for name in names if not name.isidentifier()]:
        msg = gettext(
            "template {template!r}: {name!r} is no name of a field; write {{name}}, and a brace of the text twice: {{{{",
            template=template,
            name=bad[0],
        )
        raise ValueError(msg)
    if not template.strip():
        raise ValueError(gettext("a template is empty; leave it out, or write one"))
    return template


def _is_plain(name: str, rule: str | None, conversion: str | None) -> bool:
    if rule or conversion:
        msg = gettext("the field {name!r} has a format, and fields are filled in as they are", name=name)
        raise ValueError(msg)
    return True


Template = Annotated[str, AfterValidator(_check_template)]


class DataPrompt(NamedTuple):
    """A prompt of the data with its response."""

    prompt: str
    response: str


class Guide(FrozenModel):
    """Prompts that are answered.

    Attributes:
        templates: Texts of prompts with fields in braces; `{prompt}` is a prompt of the training data. Each prompt of the data
            is asked in one of them, which is drawn.
        held_out: Templates that no text is written to. The network of each later stage answers prompts of the validation data
            in them and in `templates`, for the metrics of each template.
        fields: Values of the other fields by name; each prompt draws one of each.
        count: Number of prompts; None for one for each training prompt, or all combinations of the values without `{prompt}`.
        evaluation: Prompts of each template for its metrics.
    """

    templates: tuple[Template, ...] = Field(default=("{prompt}",), min_length=1)
    held_out: tuple[Template, ...] = ()
    fields: Mapping[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    count: int | None = Field(default=None, ge=2, le=10_000_000)
    evaluation: int = Field(default=64, ge=1, le=100_000)

    @model_validator(mode="after")
    def _knows_its_fields(self) -> Self:
        uses = {template: set(field_names(template)) for template in (*self.templates, *self.held_out)}
        known = {*self.fields, PROMPT}
        for template, names in uses.items():
            if unknown := sorted(names - known):
                msg = gettext(
                    "template {template!r} has the field {name!r}, which has no values: {hint}; name them in `fields: "
                    "{{{name}: […]}}`",
                    template=template,
                    name=unknown[0],
                    hint=nearest(unknown[0], known),
                )
                raise ValueError(msg)
        if PROMPT in self.fields:
            raise ValueError(gettext("fields: `prompt` is a prompt of the data; give the field another name"))
        with_prompt = [PROMPT in names for names in uses.values()]
        if any(with_prompt) and not all(with_prompt):
            msg = gettext("some templates have {prompt}, and others have not; write it in all, or use two stages")
            raise ValueError(msg)
        if shared := set(self.templates) & set(self.held_out):
            msg = gettext("template {template!r} is held out and trained on; name it once", template=min(shared))
            raise ValueError(msg)
        return self

    @property
    def asks_data(self) -> bool:
        """Whether prompts of the data are asked."""
        return PROMPT in field_names(self.templates[0])

    @property
    def is_plain(self) -> bool:
        """Whether prompts are those of the data as they are, so that the metrics of templates say nothing new."""
        return self.templates == ("{prompt}",) and not self.held_out


def field_names(template: str) -> list[str]:
    """Names of the fields of a template."""
    return [name for _, name, _, _ in Formatter().parse(template) if name is not None]


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its fields filled in, and single braces for double ones."""
    return Formatter().vformat(template, (), values)


def training_prompts(guide: Guide, data: Sequence[DataPrompt], seed: int) -> list[GuidedPrompt]:
    """Prompts to be answered.

    Args:
        guide: Templates and fields.
        data: Prompts of the training data.
        seed: Of the choice of templates, values and prompts.
    """
    random = np.random.default_rng(seed_of("guide", seed))
    if not guide.asks_data:
        return list(_combinations(guide, guide.templates, guide.count, random))
    rows = list(range(len(data)))
    if guide.count is not None and guide.count < len(rows):
        rows = sorted(random.choice(len(rows), guide.count, replace=False).tolist())
    elif guide.count is not None:
        rows = [number % len(data) for number in range(guide.count)]
    return [_asked(guide.templates[int(random.integers(len(guide.templates)))], guide, data[row], random) for row in rows]


def evaluation_prompts(guide: Guide, data: Sequence[DataPrompt], seed: int) -> list[GuidedPrompt]:
    """Prompts for the metrics of each template: those of the data in each, else combinations for held-out templates alone.

    Args:
        guide: Templates and fields.
        data: Prompts of the validation data.
        seed: Of the choice of values.
    """
    random = np.random.default_rng(seed_of("evaluation", "guide", seed))
    if not guide.asks_data:
        found = [_combinations(guide, (template,), guide.evaluation, random) for template in guide.held_out]
        return [prompt for each in found for prompt in each]
    chosen = data[: guide.evaluation]
    return [_asked(template, guide, each, random) for template in (*guide.templates, *guide.held_out) for each in chosen]


def _asked(template: str, guide: Guide, data: DataPrompt, random: np.random.Generator) -> GuidedPrompt:
    """A prompt of the data in a template."""
    values = {name: guide.fields[name][int(random.integers(len(guide.fields[name])))] for name in sorted(guide.fields)}
    return GuidedPrompt(fill(template, {**values, PROMPT: data.prompt}), template, data.response)


def _combinations(
    guide: Guide, templates: Sequence[str], count: int | None, random: np.random.Generator
) -> Iterator[GuidedPrompt]:
    """Combinations of templates and values, all or `count` of them, none twice."""
    for number in _numbers([_total(template, guide) for template in templates], count, random):
        place, rest = number
        template = templates[place]
        values = {}
        for name in sorted(set(field_names(template))):
            rest, index = divmod(rest, len(guide.fields[name]))
            values[name] = guide.fields[name][index]
        yield GuidedPrompt(fill(template, values), template)


def _total(template: str, guide: Guide) -> int:
    return math.prod(len(guide.fields[name]) for name in set(field_names(template)))


def _numbers(totals: Sequence[int], count: int | None, random: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Template and number of a combination of it."""
    total = sum(totals)
    chosen: Sequence[int] = range(total)
    if count is not None and count < total:
        chosen = sorted(random.choice(total, count, replace=False).tolist())
    starts = np.cumsum([0, *totals])
    for number in chosen:
        place = int(np.searchsorted(starts, number, side="right")) - 1
        yield place, number - int(starts[place])
