"""A language model with another tokenizer as teacher, which reads the texts in its own tokens, aligned with the student's.

    student   prompt | y_1 y_2 y_3 end        decoded to text        teacher   prompt | u_1 u_2 end
                       └─ group ─┘ …      ◄── groups of equal bytes ──►                 └ group ┘ …

The row of the first token of a group has the teacher's probabilities of the group, merged by the chain rule, see
`compress.distill.losses.uld`; texts of the data and texts that the student writes are treated alike.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from compress.data.batch import TARGET, Batch
from compress.data.text.context_tokens import prompt_tokens
from compress.data.text.packing import end_token, token_sizes
from compress.data.text.responses import around_prompt
from compress.data.text.token_alignment import TokenGroup, align_tokens
from compress.data.text.tokenizer import TextTokenizer
from compress.distill.generation.written_batches import last_run, prompts_of, responses_of, written_batch
from compress.distill.losses.uld import merge_groups
from compress.tasks.base import Task
from compress.train.checkpoints import network_hash
from compress.train.memory_format import to_device
from compress.train.teachers.base import Teacher
from compress.train.teachers.rows import rows_of

PARTIAL = "�"
"""What a decoder writes for a part of a character."""


SPACE, BYTE_SPACE = "▁", "Ġ"
"""A space in the names of tokens of SentencePiece and of byte-level tokenizers."""


class AlignedTeacher(Teacher):
    """A teacher in its own tokens; it has no networks for losses on features or for writing.

    Args:
        network: A causal language model, not changed.
        tokenizer: Its tokenizer, with its chat template.
        own: Tokenizer of the student.
        task: Runs the network.

    Attributes:
        shared_classes: Tokens that both tokenizers have.
    """

    own_classes: bool = True

    def __init__(self, network: nn.Module, tokenizer: TextTokenizer, own: TextTokenizer, task: Task) -> None:
        self.key = f"{network_hash(network)} {tokenizer.sha256} {own.sha256}"
        self.network, self.tokenizer, self.own, self.task = network, tokenizer, own, task
        self._around = around_prompt(own, own.chat)
        self._copy: nn.Module | None = None
        self._ends = end_token(own), end_token(tokenizer)
        self.shared_classes = _shared_tokens(own, tokenizer, self._ends)

    @torch.no_grad()
    def logits(self, batch: Batch) -> Tensor:
        """Logarithms of the probabilities of each group at the row of its first token, float32 (R, K).

        Other rows of a group are NaN; rows of tokens in no group are infinite, such as those of responses before the last one.
        """
        if self._copy is None:
            self._copy = to_device(copy.deepcopy(self.network).eval(), batch.device)
        known = batch.targets[TARGET] >= 0
        read, groups = self._in_own_tokens(batch)
        rows = rows_of(self._copy, read, self.task)
        log_p = rows.logits.float().log_softmax(dim=1)
        found = log_p.new_full((int(known.sum()), log_p.shape[1]), torch.inf)
        row, start = 0, 0
        for sample, target in enumerate(batch.targets[TARGET]):
            first, stop = last_run(target)
            count, length = int(known[sample].sum()), int((read.targets[TARGET][sample] >= 0).sum())
            place = row + count - (stop - first)
            own = slice(start, start + length)
            _fill(found[place : row + count], log_p[own], rows.targets[own], groups[sample])
            row, start = row + count, start + length
        return found

    def _in_own_tokens(self, batch: Batch) -> tuple[Batch, list[list[TokenGroup]]]:
        """Prompts and responses in the tokens of the teacher, and the groups of each response."""
        texts, sizes, ended = [], [], []
        for response in responses_of(batch):
            tokens = response.tolist()
            own = _decoded_sizes(self.own, tokens)
            ended.append(tokens[-1] == self._ends[0])
            sizes.append([*own[:-1], 0] if ended[-1] else own)
            texts.append(self.own.tokenizer.decode(tokens))
        asked = [self._prompt(prompt.tolist()) for prompt in prompts_of(batch)]
        prompts = [torch.from_numpy(each).to(batch.device) for each in prompt_tokens(asked, self.tokenizer)]
        responses, groups = [], []
        for text, encoding, own, has_end in zip(texts, self.tokenizer.plain_encodings(texts), sizes, ended, strict=True):
            ids = [*encoding.ids, *([self._ends[1]] if has_end or not encoding.ids else [])]
            theirs = token_sizes(text, encoding).tolist() if encoding.ids else []
            groups.append(align_tokens(own, [*theirs, *([0] * (len(ids) - len(theirs)))]))
            responses.append(torch.tensor(ids, device=batch.device))
        return written_batch(batch, prompts, responses, {}, self.tokenizer.pad_id), groups

    def _prompt(self, tokens: Sequence[int]) -> str:
        """Text of a prompt, without what the template of the student puts around it."""
        before, after = self._around
        text = str(self.own.tokenizer.decode(list(tokens), skip_special_tokens=self.own.chat is None))
        return text.removeprefix(before).removesuffix(after)


def _shared_tokens(first: TextTokenizer, second: TextTokenizer, ends: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Numbers of the tokens that both tokenizers have, (S,) each; the tokens that end a text are the same.

    Args:
        first: A tokenizer.
        second: Another one; a space before a word may be written otherwise.
        ends: Number of the token of each that ends a text.
    """
    own, theirs = (
        {name.replace(SPACE, BYTE_SPACE): number for name, number in each.tokenizer.get_vocab().items()}
        for each in (first, second)
    )
    pairs = {number: theirs[name] for name, number in own.items() if name in theirs and theirs[name] != ends[1]}
    pairs[ends[0]] = ends[1]
    numbers = sorted(pairs)
    return torch.tensor(numbers), torch.tensor([pairs[number] for number in numbers])


def _decoded_sizes(tokenizer: TextTokenizer, tokens: Sequence[int]) -> list[int]:
    """Bytes of the text that each token adds, (T,)."""
    decode = tokenizer.tokenizer.decode
    ends = [len(str(decode(list(tokens[:count]))).rstrip(PARTIAL).encode()) for count in range(1, len(tokens) + 1)]
    sizes: list[int] = np.diff(np.maximum.accumulate([0, *ends])).tolist()
    return sizes


def _fill(rows: Tensor, log_p: Tensor, tokens: Tensor, groups: Sequence[TokenGroup]) -> None:
    """Rows of a response, in place; arguments are of this response, groups with the student's places first."""
    if not groups:
        return
    count = groups[-1].second[1]
    numbers = torch.cat([tokens.new_full((end - begin,), number) for number, (_, (begin, end)) in enumerate(groups)])
    merged = merge_groups(log_p[:count], tokens[:count], numbers)
    rows[: groups[-1].first[1]] = torch.nan
    rows[[group.first[0] for group in groups]] = merged
