"""Workers of one study on two hosts, and the speed-up of two workers: `python -m tests.benchmarks.bench_search_hosts WHAT`.

- `hosts` (as root, Linux): two hosts are network namespaces with host names and process tables of their own, joined to the
  server by one link each; the storage is PostgreSQL. In the middle of the study the link of one host is cut, and joined again;
  later its worker is killed. Then no trial may be lost or counted twice.
- `speedup`: time of a study with one worker and with two, on a journal file and on PostgreSQL. A trial waits, as one does whose
  stages run on another device, or with `--compute` computes as long on one core.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from compress.config.devices import host
from compress.search.study import SearchStudy
from tests.benchmarks.bench_search import storages
from tests.search.postgresql_server import running_server
from tests.search.toy_study import open_study

ROOT = Path(__file__).parents[2]
HOSTS = {"compress-a": "10.77.1", "compress-b": "10.77.2"}
"""Namespaces, and the first three numbers of the addresses on their links: .1 is the server, .2 the host."""
CHILD = """\
import sys, time
from compress.search import worker
from tests.search.toy_study import open_study, result, source

storage, trials, seconds, computes, name = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "1", sys.argv[5]

def measure(trial, *_):
    x = trial.suggest_float("x", 0.0, 1.0)
    if not computes:
        time.sleep(seconds)
    end_s = time.process_time() + seconds
    while computes and time.process_time() < end_s:
        pass
    with open(name, "a") as file:
        file.write(f"{trial.number} {x!r}\\n")
    return result(x, 1.0 - x)

worker._measure = measure
worker.POLL_S = 0.2
study = open_study(storage, open_wait_s=120.0)
worker.work(study, source(), worker.WorkerOptions(__import__("pathlib").Path("."), "f", trials))
"""


def worker(
    storage: str, trials: int, seconds: float, log: Path, *, computes: bool = False, prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start a worker whose trials wait or compute; `log` gets a line for each trial that it ran to its end."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    command = [*prefix, sys.executable, "-c", CHILD, storage, str(trials), str(seconds), str(int(computes)), str(log)]
    return subprocess.Popen(command, env=environment, start_new_session=True)


def run(*command: str) -> None:
    """Run a command of the system."""
    subprocess.run(command, check=True)


@contextmanager
def namespaces() -> Iterator[None]:
    """The two hosts with their links, removed after the block."""
    try:
        for name, network in HOSTS.items():
            link = name[-1]
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"compress{link}", "type", "veth", "peer", "name", "uplink", "netns", name)
            run("ip", "addr", "add", f"{network}.1/24", "dev", f"compress{link}")
            run("ip", "link", "set", f"compress{link}", "up")
            run("ip", "netns", "exec", name, "ip", "addr", "add", f"{network}.2/24", "dev", "uplink")
            run("ip", "netns", "exec", name, "ip", "link", "set", "uplink", "up")
        yield
    finally:
        for name in HOSTS:
            with suppress(subprocess.CalledProcessError):
                run("ip", "netns", "del", name)


def hosts(trials: int, seconds: float, cut_s: float) -> None:
    """A study on two hosts, with a cut link and a killed worker."""
    with namespaces(), running_server({f"{net}.1": f"{net}.0/24" for net in HOSTS.values()}) as server, \
            tempfile.TemporaryDirectory() as folder:  # fmt: skip
        logs = {name: Path(folder) / name for name in HOSTS}

        def begin(name: str) -> subprocess.Popen[bytes]:
            own = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
                   f'hostname {name}; exec "$@"', "sh"]  # fmt: skip
            url = f"postgresql://postgres@{HOSTS[name]}.1:{server.port}/postgres"
            return worker(url, trials, seconds, logs[name], prefix=["ip", "netns", "exec", name, *own])

        study = open_study(server.url)
        start_s = time.monotonic()
        workers = {name: begin(name) for name in HOSTS}
        _wait(study, trials // 4)
        print(f"{time.monotonic() - start_s:.0f} s: link of compress-b cut after {_finished(study)} trials", flush=True)
        run("ip", "link", "set", "compressb", "down")
        time.sleep(cut_s)
        print(f"{time.monotonic() - start_s:.0f} s: joined again after {_finished(study)} trials", flush=True)
        run("ip", "link", "set", "compressb", "up")
        _wait(study, trials * 3 // 4)
        print(f"{time.monotonic() - start_s:.0f} s: worker of compress-b killed after {_finished(study)} trials", flush=True)
        workers["compress-b"].kill()
        workers["compress-b"].wait()
        workers["compress-b"] = begin("compress-b")
        codes = [process.wait() for process in workers.values()]
        print(f"{time.monotonic() - start_s:.0f} s: workers ended with exit codes {codes}", flush=True)
        report(study, logs)


def _finished(study: SearchStudy) -> int:
    return study.states()["finished"]


def _wait(study: SearchStudy, count: int) -> None:
    while _finished(study) < count:
        time.sleep(0.5)


def report(study: SearchStudy, logs: dict[str, Path]) -> None:
    """Which host finished how many trials, and what was lost, repeated or counted twice."""
    rows = study.rows()
    finished = [row for row in rows if row.state == "finished"]
    ran = Counter(line.split()[1] for log in logs.values() if log.exists() for line in log.read_text().splitlines())
    values = Counter(repr(row.parameters["x"]) for row in finished)
    by_host = Counter(row.host for row in finished)
    print(f"| trials | {len(rows)} |\n| finished | {len(finished)} |\n| by host | {dict(by_host)} |")
    print(f"| lost | {len(rows) - len(finished)} |\n| counted twice | {sum(count - 1 for count in values.values())} |")
    print(f"| ran to the end more than once | {sum(ran[value] - 1 for value in values)} |")


def speedup(trials: int, seconds: float, *, computes: bool) -> None:
    """The same study with one worker and with two. Starts of Python are left out: the clock starts with the first trial."""
    for kind in ("journal", "postgresql"):
        took = {}
        for count in (1, 2):
            with storages(kind) as (url, _), tempfile.TemporaryDirectory() as folder:
                study = open_study(url)
                processes = [worker(url, trials, seconds, Path(folder) / str(number), computes=computes)
                             for number in range(count)]  # fmt: skip
                for process in processes:
                    process.wait()
                ends = [trial for trial in study.study.get_trials(deepcopy=False) if trial.datetime_complete]
                took[count] = (max(trial.datetime_complete for trial in ends)
                               - min(trial.datetime_start for trial in ends)).total_seconds()  # fmt: skip
        print(
            f"| {kind} | {trials} of {seconds:g} s | {took[1]:.1f} s | {took[2]:.1f} s | {took[1] / took[2]:.2f} |", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["hosts", "speedup"])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--trial-seconds", type=float, default=1.0)
    parser.add_argument("--cut", type=float, default=90.0, help="how long the link is cut, s")
    parser.add_argument("--compute", action="store_true", help="trials of `speedup` compute on one core")
    chosen = parser.parse_args()
    print(f"{host().title}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    if chosen.what == "hosts":
        hosts(chosen.trials, chosen.trial_seconds, chosen.cut)
    else:
        speedup(chosen.trials, chosen.trial_seconds, computes=chosen.compute)


if __name__ == "__main__":
    main()
