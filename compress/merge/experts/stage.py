"""`merge_experts:` in a recipe: a dense network from a mixture of experts. Imports no torch.

- merge_experts: {method: {most_used: {experts: 2}}}
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from compress.core.registry_field import RegistryField
from compress.core.stage import Candidate, Context, Form, Outcome, Stage
from compress.merge.experts.method import ExpertMerge
from compress.merge.experts.most_used import MostUsedExperts


class MergeExperts(Stage):
    """Replace each mixture of experts by one feed-forward network made of them, as the start of a dense student.

    The shares of the router are measured on training samples and are in the record, with the metric on validation before and
    after. A `distill` stage afterwards restores what is lost.

    Attributes:
        method: How experts are merged.
        samples: Training samples on which the shares of the router are measured.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "same"
    compresses: ClassVar[bool] = True

    method: Annotated[ExpertMerge, RegistryField("expert_merge", ExpertMerge)] = MostUsedExperts()
    samples: int = Field(default=256, ge=1)

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Measure the router, merge the experts, and evaluate both networks on validation.

        Raises:
            ModelError: The network has no experts, or too few for the method.
        """
        from compress.merge.experts.replace_experts import merge_experts

        dense = merge_experts(self, candidate.network(), context)
        return Outcome(
            replace(candidate, module=dense.module),
            results=dense.results,
            notes=dense.notes,
            tables={"expert_shares": dense.rows},
        )

    def smoke(self) -> Self:
        """Few samples."""
        return self.model_copy(update={"samples": min(self.samples, 32)})
