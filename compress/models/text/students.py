"""Small text networks on the vectors of tokens: BiLSTM, CNN and MLP, as students of an encoder.

x (N, L, E) are the vectors of the tokens, m (N, L) is the attention mask: 1 for a token, 0 for padding after it. No layer lets
padding change an answer, whatever the longest text of the batch.

Symbols: N texts; L tokens; E width of a vector; H hidden width; K outputs; ℓ_n = Σ_t m_nt the length of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.models.text.student_settings import StudentSettings

EMBEDDING_STD = 0.1
"""Standard deviation of new vectors of tokens."""


class TextStudent(nn.Module):
    """Token numbers and attention mask, each int64 (N, L), and token types where used → logits (N, K) or (N, L, K).

    Args:
        kind: `bilstm`, `cnn` or `mlp`.
        settings: Its sizes; the vocabulary is set.
        outputs: K.
        types: Number of token types; 0 without them.
        per_token: Whether each token has logits, and not each text.
    """

    def __init__(self, kind: str, settings: StudentSettings, outputs: int, *, types: int = 0, per_token: bool = False) -> None:
        super().__init__()
        self.per_token = per_token
        self.embedding = nn.Embedding(settings.vocabulary or 1, settings.embedding)
        self.types = nn.Embedding(types, settings.embedding) if types else None
        for table in (self.embedding, self.types):
            if table is not None:
                nn.init.normal_(table.weight, std=EMBEDDING_STD)
        self.body = BODIES[kind](settings)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(self.body.width, outputs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits."""
        x = self.embedding(input_ids)
        if self.types is not None and token_type_ids is not None:
            x = x + self.types(token_type_ids)
        mask = attention_mask.to(x.dtype)
        tokens, text = self.body(self.dropout(x), mask)
        logits: Tensor = self.head(self.dropout(tokens if self.per_token else text))
        return logits


class Body(nn.Module):
    """Vectors of tokens (N, L, E) and mask (N, L) → features of tokens (N, L, D) and of the text (N, D).

    Attributes:
        width: D.
    """

    width: int

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The features; those of padding mean nothing."""
        raise NotImplementedError


class RecurrentBody(Body):
    """Bidirectional LSTM layers (Hochreiter & Schmidhuber 1997), as the student of Tang et al. 2019, arXiv:1903.12136.

        →h_t = LSTM(x_1 … x_t),   ←h_t = LSTM(x_ℓ … x_t),   tokens_t = [→h_t, ←h_t],   text = [→h_ℓ, ←h_1]

    The second direction reads each text from its own last token, and not from the end of the padding. D = 2H.

    Args:
        settings: E, H and the number of layers.
    """

    def __init__(self, settings: StudentSettings) -> None:
        super().__init__()
        self.width = 2 * settings.width
        widths = [settings.embedding] + [self.width] * (settings.layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(width, settings.width, batch_first=True) for width in widths)
        self.back = nn.ModuleList(nn.LSTM(width, settings.width, batch_first=True) for width in widths)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Features of tokens (N, L, 2H) and of texts (N, 2H)."""
        length = mask.sum(1, keepdim=True).long()
        place = torch.arange(x.shape[1], device=x.device)[None, :]
        mirrored = torch.where(place < length, length - 1 - place, place)
        for number, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            y = self.dropout(x) if number else x
            forward = ahead(y)[0]
            backward = _reorder(back(_reorder(y, mirrored))[0], mirrored)
            x = torch.cat([forward, backward], dim=2)
        last = (length - 1).clamp(min=0)[:, :, None].expand(-1, -1, forward.shape[2])
        return x, torch.cat([forward.gather(1, last)[:, 0], backward[:, 0]], dim=1)


def _reorder(x: Tensor, places: Tensor) -> Tensor:
    """Row t of each text of (N, L, D) is the row at `places` (N, L)."""
    return x.gather(1, places[:, :, None].expand(-1, -1, x.shape[2]))


class ConvolutionalBody(Body):
    """Convolutions of several kernel sizes over the tokens, and the maximum over time (Kim 2014, arXiv:1408.5882).

        c_t = [relu(W_k * x)_t for k in kernels] · m_t,   tokens = c,   text = max_t c_t

    A text is followed by zeros, whether it is the longest of its batch or not; D = H · number of kernel sizes.

    Args:
        settings: E, H, kernel sizes and the number of layers.
    """

    def __init__(self, settings: StudentSettings) -> None:
        super().__init__()
        self.width = settings.width * len(settings.kernels)
        widths = [settings.embedding] + [self.width] * (settings.layers - 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.Conv1d(width, settings.width, size) for size in settings.kernels) for width in widths
        )
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Features of tokens (N, L, D) and of texts (N, D)."""
        kept = mask[:, None, :]
        c = x.transpose(1, 2) * kept
        for number, layer in enumerate(self.layers):
            y = self.dropout(c) if number else c
            assert isinstance(layer, nn.ModuleList)  # noqa: S101  # as made above
            c = torch.cat([F.relu(_same_length(convolution, y)) for convolution in layer], dim=1) * kept
        return c.transpose(1, 2), c.amax(2)


def _same_length(convolution: nn.Module, x: Tensor) -> Tensor:
    """Convolve (N, C, L) with zeros on both sides, so that L stays; one more after it for an even kernel."""
    assert isinstance(convolution, nn.Conv1d)  # noqa: S101  # `ConvolutionalBody` has no others
    (size,) = convolution.kernel_size
    y: Tensor = convolution(F.pad(x, ((size - 1) // 2, size // 2)))
    return y


class MeanBody(Body):
    """A multilayer perceptron on the mean of the vectors of a text (Iyyer et al. 2015, deep averaging network).

        a = Σ_t m_t x_t / Σ_t m_t,   text = relu(W_n … relu(W_1 a))

    It has no features of single tokens; D = H.

    Args:
        settings: E, H and the number of layers.
    """

    def __init__(self, settings: StudentSettings) -> None:
        super().__init__()
        self.width = settings.width
        widths = [settings.embedding] + [settings.width] * (settings.layers - 1)
        parts = [(nn.Linear(width, settings.width), nn.ReLU(), nn.Dropout(settings.dropout)) for width in widths]
        self.layers = nn.Sequential(*[part for layer in parts for part in layer][:-1])

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors of the tokens as they are, and features of texts (N, H)."""
        weights = mask[:, :, None]
        mean = (x * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        return x, self.layers(mean)


BODIES: Mapping[str, Callable[[StudentSettings], Body]] = {
    "bilstm": RecurrentBody,
    "cnn": ConvolutionalBody,
    "mlp": MeanBody,
}
