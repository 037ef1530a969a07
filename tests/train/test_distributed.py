import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from compress.data.batch import Batch
from compress.train.distributed import shard_batch
from tests.train import toy_training
from tests.train.toy_training import one_of_several


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 3, 4, 7, 16])
def test_shares_weigh_one_batch_together_and_none_is_a_single_sample_that_need_not_be(world, size):
    batch = Batch.of(torch.arange(size).float(), torch.arange(size))
    shares = [shard_batch(batch, size, rank=rank, world=world) for rank in range(world)]
    assert sum(weight for _, weight in shares) == pytest.approx(1.0)
    mean = sum(float(part.input.mean()) * weight for part, weight in shares)
    assert mean == pytest.approx(float(batch.input.mean()))
    assert min(len(part.target) for part, _ in shares) >= min(size, 2)


def test_two_processes_end_with_the_weights_of_one(tmp_path):
    one_of_several(tmp_path / "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(toy_training.__file__)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(port)]
    command += [str(script), "several", str(tmp_path / "two")]
    (tmp_path / "two").mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    process = subprocess.run(command, capture_output=True, check=False, timeout=120, env=environment)
    assert process.returncode == 0, process.stderr.decode()[-3000:]
    one = torch.load(tmp_path / "one" / "rank0.pt", weights_only=True)
    first, second = (torch.load(tmp_path / "two" / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, weight in one.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], weight, rtol=1e-5, atol=1e-6)
