"""Keep texts whose answer is that of most samples of the prompt: self-consistency. Imports no torch.

Wang et al. 2023, arXiv:2203.11171; without references, Huang et al. 2023, Large language models can self-improve,
arXiv:2210.11610, section 3.1.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from compress.distill.prompts.filters.base import TextFilter

if TYPE_CHECKING:
    from compress.core.stage import Context
    from compress.distill.prompts.written_text import WrittenText


class AgreementFilter(TextFilter):
    """`agreement`: of the samples of a prompt those with the most frequent answer.

    Attributes:
        least: Smallest fraction of the samples that have this answer; with fewer the prompt is left out.
        keep_samples: `one` text of each prompt, or `all` with the answer.
    """

    least: float = Field(default=0.5, gt=0.0, le=1.0)
    keep_samples: Literal["one", "all"] = "one"

    def keep(self, texts: Sequence[WrittenText], context: Context) -> list[WrittenText]:  # noqa: ARG002
        """Texts with the answer that most have; of equally frequent ones the first."""
        answers: dict[int, list[str]] = defaultdict(list)
        for each in texts:
            answers[each.source].append(each.answer.strip())
        chosen = {source: self._chosen(found) for source, found in answers.items()}
        kept = [each for each in texts if each.answer.strip() == chosen[each.source]]
        if self.keep_samples == "all":
            return kept
        first = {each.source: each for each in reversed(kept)}
        return [each for each in kept if first[each.source] is each]

    def _chosen(self, answers: Sequence[str]) -> str | None:
        answer, count = Counter(answers).most_common(1)[0]
        return answer if count >= self.least * len(answers) else None
