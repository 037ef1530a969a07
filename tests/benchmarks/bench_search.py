"""Measurements of searches: `python tests/benchmarks/bench_search.py kills|overhead|federated`.

- `kills`: two workers on one study, in a journal file or in PostgreSQL; workers, and the server, are killed at random.
- `overhead`: cheap trials in one process: time outside of trials, and resident memory.
- `federated`: bytes of a round and accuracy of a small network on digits, dense and sparse.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from compress.config.devices import host
from tests.search.postgresql_server import Server, running_server
from tests.search.test_worker import CHILD
from tests.search.toy_study import open_study, result, source

warnings.filterwarnings("ignore")


def start(storage: str, done: Path, trials: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen([sys.executable, "-c", CHILD, storage, str(done), str(trials)], env=environment)


@contextmanager
def storages(kind: str) -> Iterator[tuple[str, Server | None]]:
    if kind == "journal":
        with tempfile.TemporaryDirectory() as folder:
            yield str(Path(folder) / "journal.log"), None
    else:
        with running_server() as server:
            yield server.url, server


def kills(kind: str, seconds: float, pause_s: float) -> str:
    """Kill a worker, or with PostgreSQL every fifth time also the server, until the time is over; then let the study end."""
    draw, count, restarts, trials = random.Random(0), 0, 0, 100_000
    with storages(kind) as (url, server), tempfile.TemporaryDirectory() as folder:
        done = Path(folder) / "done"
        study = open_study(url)
        workers = [start(url, done, trials) for _ in range(2)]
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            time.sleep(draw.uniform(0.5, 1.5) * pause_s)
            if server is not None and count % 5 == 4:
                server.stop()
                time.sleep(0.5)
                server.start()
                restarts += 1
            victim = draw.randrange(2)
            workers[victim].send_signal(signal.SIGKILL)
            workers[victim].wait()
            workers[victim] = start(url, done, trials)
            count += 1
        for process in workers:
            process.kill()
            process.wait()
        begun = study.states().total()
        last = [start(url, done, begun) for _ in range(2)]
        codes = [process.wait() for process in last]
        rows = study.rows()
        ended = [row for row in rows if row.state == "finished"]
        ran = [line.split()[1] for line in done.read_text().splitlines()]
        values = [repr(row.parameters["x"]) for row in ended]
        lost = sum(row.state not in ("finished", "failed") for row in rows)
        again = sum(ran.count(value) for value in set(values)) - len(set(values))
        twice = len(values) - len(set(values))
    return (
        f"| {kind} | {count} | {restarts} | {begun} | {len(ended)} | {lost} | {twice} | {again} | "
        f"{'ended' if codes == [0, 0] else codes} |"
    )


def overhead(trials: int, trial_s: float) -> str:
    """Cheap trials that sleep; time outside of them, and memory."""
    from compress.search import worker
    from compress.search.samplers import make_sampler
    from compress.search.worker import WorkerOptions, work

    inside: list[float] = []
    memory: list[float] = []

    def measure(trial: object, *_: object) -> object:
        x = trial.suggest_float("x", 0.0, 1.0)  # type: ignore[attr-defined]
        start_s = time.monotonic()
        time.sleep(trial_s)
        inside.append(time.monotonic() - start_s)
        if len(inside) % 100 == 0:
            memory.append(psutil.Process().memory_info().rss / 1e6)
        return result(x, 1 - x)

    worker._measure = measure  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        study = open_study(Path(folder) / "journal.log")
        study.study.sampler = make_sampler("tpe", seed=0, trials=trials)
        start_s, cpu_s = time.monotonic(), time.process_time()
        work(study, source(), WorkerOptions(Path(folder), "study", trials))
        wall_s, cpu_s = time.monotonic() - start_s, time.process_time() - cpu_s
    outside = wall_s - sum(inside)
    return (
        f"| {trials} | {trial_s:g} s | {wall_s:.0f} s | {100 * outside / wall_s:.1f} % | {1000 * outside / trials:.0f} ms | "
        f"{1000 * cpu_s / trials:.0f} ms | {memory[0]:.0f} → {memory[-1]:.0f} MB |"
    )


def federated(rounds: int, seeds: int, keeps: list[float], concentration: float) -> list[str]:
    """A small convolutional network on digits: all in float32, the largest entries in 8 bits, and FedDF."""
    import torch
    from torch import nn

    from compress.backends.run_split import run_split
    from compress.core.stage import Context
    from compress.data.factory import load_data
    from compress.data.settings import DataSettings
    from compress.tasks.classification import Classification
    from compress.train.federated.rounds import train_rounds
    from compress.train.federated.stage import Federated

    data = load_data(DataSettings(source="digits", image_size=16), base=Path())
    updates: dict[str, dict[str, object]] = {
        f"top {100 * keep:g} %, 8 bits" if keep < 1 else "dense float32": {"keep": keep, "bits": 8} if keep < 1 else {}
        for keep in keeps
    }
    updates = {label: {"update": update} for label, update in updates.items()}
    updates["dense float32, FedDF"] = {"distill": {"share": 0.1}}

    def network() -> nn.Module:
        layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()]
        return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 10))

    def train(settings: dict[str, object], split: object, seed: int) -> tuple[float, float, float]:
        torch.manual_seed(seed)
        net = network()
        stage = Federated(rounds=rounds, split=split, lr=0.05, batch_size=16, local_epochs=2, **settings)
        with tempfile.TemporaryDirectory() as folder:
            context = Context(data, Classification(), Path(folder), Path(folder), seed=seed, device="cpu")
            course = train_rounds(net, stage, context)
        accuracy = 100 * run_split(net, data.test, Classification()).metric
        return accuracy, course.round_bytes, course.round_bytes / course.dense_bytes

    rows = []
    for split in ("iid", {"dirichlet": concentration}):
        dense: list[float] = []
        for label, settings in updates.items():
            runs = [train(settings, split, seed) for seed in range(seeds)]
            accuracies = [accuracy for accuracy, _, _ in runs]
            dense = dense or accuracies
            loss = statistics.mean(a - b for a, b in zip(dense, accuracies, strict=True))
            name = split if isinstance(split, str) else f"Dirichlet {split['dirichlet']}"
            listed = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
            mean = statistics.mean(accuracies)
            _, sent, share = runs[-1]
            rows.append(
                f"| {name} | {label} | {sent / 1e3:.0f} kB | {100 * share:.1f} % | {mean:.1f} % ({listed}) | {loss:+.1f} |"
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["kills", "overhead", "federated"])
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--pause", type=float, default=2.5, help="mean time between two kills, s")
    parser.add_argument("--storage", choices=["journal", "postgresql"], default="journal")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--trial-seconds", type=float, default=0.2)
    parser.add_argument("--keep", type=float, nargs="+", default=[1.0, 0.02, 0.1], help="1 is dense float32")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--dirichlet", type=float, default=0.5, help="concentration of the uneven split")
    parser.add_argument("--seeds", type=int, default=1)
    chosen = parser.parse_args()
    print(f"{host().title}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    if chosen.what == "kills":
        print(kills(chosen.storage, chosen.seconds, chosen.pause))
    elif chosen.what == "overhead":
        print(overhead(chosen.trials, chosen.trial_seconds))
    else:
        federated(chosen.rounds, chosen.seeds, chosen.keep, chosen.dirichlet)


if __name__ == "__main__":
    main()
