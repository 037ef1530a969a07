import pytest
import torch_pruning as tp
from torch import nn

from compress.core.errors import ModelError
from compress.prune.structured.tolerant_graph import NotFollowedError, build_graph
from tests.prune.structured.test_channels import prune_channels


def test_a_network_that_cannot_run_names_where_it_stopped(spec):
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine = nn.Conv2d(3, 8, 3)
            self.wrong = nn.Linear(7, 4)

        def forward(self, x):
            return self.wrong(self.fine(x).mean((2, 3)))

    with pytest.raises(ModelError, match=r"'wrong'.*granularity: weight"):
        prune_channels(Broken(), spec)


@pytest.mark.parametrize("steps", [2, 5])
def test_the_channels_before_a_recurrence_end_with_a_reason(steps, spec):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn, self.head = nn.Conv2d(3, 8, 3), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.rnn(self.conv(x).mean(2)[:, :, :steps].transpose(1, 2))[0][:, -1])

    net = Recurrent().eval()
    graph = build_graph(net, spec)
    with pytest.raises(NotFollowedError, match=r"no end|outside"):
        graph.get_pruning_group(net.conv, tp.prune_conv_out_channels, range(8))
