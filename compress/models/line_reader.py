"""A small network that reads a line of text: convolutions down to one row, then over the columns (CRNN's shape).

Shi et al. 2017, CRNN, arXiv:1507.05717: features of columns from left to right, and a class of characters for each, for CTC.
The recurrent layers are optional; without them each column sees its neighbours by convolutions, which int8 and pruning take.
"""

from __future__ import annotations

from torch import Tensor, nn

from compress.models.line_reader_settings import LineReaderSettings


def block(channels: int, width: int, stride: tuple[int, int]) -> nn.Sequential:
    """A convolution of 3 × 3, batch norm and ReLU.

    Args:
        channels: Of the input.
        width: Of the output.
        stride: Down and right.
    """
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )


class LineReader(nn.Module):
    """Image (N, C, H, W) → logits (N, W / 4, K), blank first.

    Args:
        settings: Its sizes.
        channels: C.
        outputs: K.
    """

    def __init__(self, settings: LineReaderSettings, channels: int, outputs: int) -> None:
        super().__init__()
        width = settings.width
        steps = ((2, 2), (2, 2), (2, 1), (2, 1))
        widths = (width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        for stride, own in zip(steps, widths, strict=True):
            layers.append(block(channels, own, stride))
            layers += [block(own, own, (1, 1)) for _ in range(settings.repeats - 1)]
            channels = own
        self.columns = nn.Sequential(*layers)
        self.context = nn.Sequential(
            *(
                part
                for _ in range(settings.context)
                for part in (nn.Conv1d(channels, channels, 5, padding=2, bias=False), nn.BatchNorm1d(channels), nn.ReLU())
            )
        )
        recurrent = settings.recurrent
        self.recurrent = nn.LSTM(channels, recurrent, bidirectional=True, batch_first=True) if recurrent else None
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(2 * recurrent or channels, outputs)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of each column."""
        x = self.context(self.columns(image).mean(dim=2)).transpose(1, 2)
        if self.recurrent is not None:
            x = self.recurrent(x)[0]
        logits: Tensor = self.head(self.dropout(x))
        return logits
