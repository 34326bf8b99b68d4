"""Machines that are lost, or started again: each is a launcher of its own on this one."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults import runs
from tests.faults.runs import INJECTED, MARK, flags, result, unbroken
from tests.faults.table import Fault, Measured, Scale, all_of, joined
from tests.scripts import launchers
from tests.scripts.test_bert_run_glue import ROOT, history, losses, tiny_bert

DEATHS = ("SIGKILL to the machine", "SIGKILL to one process", "exception")
CALLS = {"join": 1, "step": 5, "evaluation": 1, "save": 1, "data preparation": 1}
LIMIT = 120  # seconds
# Which machine is lost, how, and when.
CASES = [
    *((1, death, at) for death in DEATHS for at in ("join", "step")),
    *((0, death, at) for death in DEATHS for at in ("join", "step")),
    (0, DEATHS[0], "save"),
    (0, DEATHS[0], "evaluation"),
    (1, DEATHS[0], "evaluation"),
    (1, "SIGSTOP to the machine", "step"),
]
ETCD = os.environ.get("ETCD") or shutil.which("etcd")  # what the launcher restarts by
# Folders with the package etcd3 and the protobuf that it needs, where these are not installed.
ETCD3 = os.environ.get("ETCD3", "")


class Run:
    """A run on two machines of one process each."""

    def __init__(
        self,
        given: Sequence[str],
        folder: Path,
        fault: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        **variables: str,
    ) -> None:
        self.folder = folder
        self.name = uuid.uuid4().hex
        self.mark = folder / f"fault-{self.name}"
        if fault is not None:
            variables["FAULT"] = json.dumps(
                {"calls": CALLS[fault["phase"]], **fault, "mark": str(self.mark)}
            )
        started = {"script": INJECTED} if fault is not None else {}
        self.launchers = launchers.start(
            given, folder, options=options, environment={MARK: self.name, **variables}, **started
        )

    def wait(self, machine: int) -> tuple[int | None, float]:
        """Wait for a launcher; its exit code, None if it goes on, and seconds since the fault."""
        try:
            self.launchers[machine].wait(LIMIT)
        except subprocess.TimeoutExpired:
            return None, LIMIT
        since = float(self.mark.read_text()) if self.mark.exists() else time.time()
        return self.launchers[machine].returncode, time.time() - since

    def clear(self) -> int:
        """End what is left; how many processes that no launcher has any more."""
        for launcher in self.launchers:
            if launcher.poll() is None:
                launcher.kill()
                launcher.wait()
        left = [pid for pid in runs._processes_of(self.name) if runs._soon_running(pid, 3)]
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(left)


def machine_lost(scale: Scale) -> Measured:
    """Lose a machine; the other one names it, and the run is continued."""
    cases = CASES[1:2] if scale.short else CASES
    failed = named = same = orphans = 0
    slowest = 0.0
    for number, (machine, death, at) in enumerate(cases):
        place = scale.folder / f"machine-{number}"
        given = flags(scale.folder, place / "out", 2)
        run = Run(given, place, {"phase": at, "rank": machine, "action": death})
        code, seconds = run.wait(1 - machine)
        slowest = max(slowest, seconds)
        failed += code not in (None, 0)
        left = run.clear()
        orphans += 0 if death.startswith("SIGSTOP") else left  # which could not end
        named += _names(place / f"log-{1 - machine}/FAILED.json", machine)
        again = Run([*given, "--resume_from_checkpoint", "latest"], place)
        codes = [again.wait(one)[0] for one in (0, 1)]
        again.clear()
        same += codes == [0, 0] and result(place / "out") == unbroken(scale.folder, 2)
    return joined(
        all_of(failed, len(cases), "end with an exit code other than 0"),
        Measured(f"slowest end {slowest:.1f} s", slowest <= 60),
        all_of(named, len(cases), "named with host and rank"),
        Measured(f"{orphans} orphans", not orphans),
        all_of(same, len(cases), "continued bit for bit"),
    )


def _names(report: Path, machine: int) -> bool:
    facts = json.loads(report.read_text()) if report.exists() else {}
    lost = {"host": socket.gethostname(), "ranks": [machine]}
    return facts.get("rank") == machine and facts["lost"] == lost and bool(facts["traceback"])


def shared_out(scale: Scale) -> Measured:
    """Make the same run by one process, two of one machine, and two machines."""
    (scale.folder / "plain").mkdir()  # dropout depends on the process
    model = {"model_name_or_path": tiny_bert(scale.folder / "plain")}
    one, two, machines = (scale.folder / name / "out" for name in ("one", "two", "machines"))
    for output, processes in ((one, 1), (two, 2)):
        given = flags(scale.folder, output, processes, **model)
        runs.run(given, output.parent, processes=processes)
    run = Run(flags(scale.folder, machines, 2, **model), machines.parent)
    codes = [run.wait(machine)[0] for machine in (0, 1)]
    orphans = run.clear()
    apart = float(np.max(np.abs(np.subtract(losses(machines), losses(one)))))
    metrics = [[row["metrics"] for row in history(at) if "split" in row] for at in (one, machines)]
    same = codes == [0, 0] and result(machines) == result(two)
    return joined(
        Measured(f"two machines: losses within {apart:.0e} of one process's", apart <= 1e-5),
        Measured("metrics equal", metrics[0] == metrics[1]),
        Measured(f"{'' if same else 'not '}bit for bit what two processes of one do", same),
        Measured(f"{orphans} orphans", not orphans),
    )


def working_alone(scale: Scale) -> Measured:
    """Let one process work alone, longer than gloo waits."""
    cases = [("save", 0, 1), ("save", 0, 2), ("data preparation", 1, 2)]
    cases = cases[: scale.of(3, 1)]
    same = 0
    for number, (phase, rank, machines) in enumerate(cases):
        place = scale.folder / f"alone-{number}"
        given = flags(scale.folder, place / "out", 2)
        fault = {"phase": phase, "rank": rank, "action": "wait"}
        if machines == 1:
            runs.run(given, place, processes=2, fault=fault)
        else:
            run = Run(given, place, fault)
            for machine in (0, 1):
                run.wait(machine)
            run.clear()
        with suppress(OSError):
            same += result(place / "out") == unbroken(scale.folder, 2)
    return all_of(same, len(cases), "come to what they do otherwise")


def started_again(scale: Scale) -> Measured:
    """Lose a machine whose launchers are started again, by a shell or with etcd by themselves."""
    machines = (1,) if scale.short else (0, 1)
    by_shell = [_shell_starts_again(scale, machine) for machine in machines]
    measured = all_of(sum(by_shell), len(by_shell), "come to the same by a shell's loop")
    if ETCD is None or not (ETCD3 or importlib.util.find_spec("etcd3")):
        return joined(measured, Measured("without etcd: its part was left out", True))
    cases = ("SIGKILL to one process", "exception")
    by_etcd = [_etcd_starts_again(scale, death) for death in cases]
    return joined(measured, all_of(sum(by_etcd), len(cases), "by --max_restart with etcd"))


def _shell_starts_again(scale: Scale, machine: int) -> bool:
    """Start each launcher until it ends well, as docs/several-machines.md has it."""
    place = scale.folder / f"shell-{machine}"
    place.mkdir()
    given = flags(scale.folder, place / "out", 2, resume_from_checkpoint="latest")
    fault = {"phase": "step", "calls": 5, "rank": machine, "action": "SIGKILL to one process"}
    name, port = uuid.uuid4().hex, launchers.free_port()
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", MARK: name,
        "FAULT": json.dumps({**fault, "mark": str(place / "mark")}),
    }  # fmt: skip
    loops = []
    for rank in (0, 1):
        launcher = [sys.executable, "-m", "paddle.distributed.launch", "--nnodes", "2"]
        launcher += ["--master", f"127.0.0.1:{port}", "--rank", str(rank), "--nproc_per_node", "1"]
        launcher += ["--log_dir", str(place / f"log-{rank}"), str(INJECTED)]
        loop = 'until "$@"; do sleep 1; done'
        with (place / f"said-{rank}").open("w") as said:
            loops.append(
                subprocess.Popen(
                    ["sh", "-c", loop, "sh", *launcher, *given],
                    cwd=place,
                    env=environment,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        codes = [loop.wait(LIMIT) for loop in loops]
    except subprocess.TimeoutExpired:
        codes = []
    for loop in loops:
        loop.kill()
        loop.wait()
    for pid in runs._processes_of(name):
        os.kill(pid, signal.SIGKILL)
    was_hit = (place / "mark").exists()
    return was_hit and codes == [0, 0] and result(place / "out") == unbroken(scale.folder, 2)


def _etcd_starts_again(scale: Scale, death: str) -> bool:
    place = scale.folder / f"etcd-{death.replace(' ', '-')}"
    given = flags(scale.folder, place / "out", 2, resume_from_checkpoint="latest")
    with etcd(place) as address:
        run = Run(
            given,
            place,
            {"phase": "step", "rank": 1, "action": death},
            options=[
                *("--master", f"etcd://{address}", "--job_id", "faults", "--max_restart", "3"),
                *("--elastic_level", "1", "--elastic_timeout", "10"),
            ],
            PYTHONPATH=f"{ROOT}:{ETCD3}",
        )
        codes = [run.wait(one)[0] for one in (0, 1)]
        run.clear()
    was_hit = run.mark.exists()
    return was_hit and codes == [0, 0] and result(place / "out") == unbroken(scale.folder, 2)


@contextmanager
def etcd(folder: Path) -> Iterator[str]:
    """Run a server of etcd; yield its address."""
    own, other = (f"127.0.0.1:{launchers.free_port()}" for _ in range(2))
    command = [str(ETCD), "--data-dir", str(folder / "etcd"), "--log-level", "error"]
    command += ["--listen-client-urls", f"http://{own}", "--advertise-client-urls", f"http://{own}"]
    command += ["--listen-peer-urls", f"http://{other}"]
    folder.mkdir(parents=True, exist_ok=True)
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=silent, stderr=silent) as server:
        time.sleep(2)
        try:
            yield own
        finally:
            server.terminate()


FAULTS = (
    Fault(
        35,
        "one of two machines is lost by SIGKILL (all of it, or its process), SIGSTOP or an "
        "exception, before they have met, in a step, an evaluation and a save",
        "the other ends within 60 s with an error and names host and rank in FAILED.json; no "
        "orphan; the continued run identical",
        machine_lost,
    ),
    Fault(
        36,
        "the same run by one process, two processes of a machine, and two machines",
        "losses within 1e-5, metrics equal; two machines to the bit what two processes are",
        shared_out,
    ),
    Fault(
        38,
        "one of two processes, of one machine and of two, saves or prepares data for 35 s, while "
        "the other one waits",
        "the run goes on, identical: gloo would give up after 30 s",
        working_alone,
    ),
    Fault(
        37,
        "one of two machines loses its process, and launchers are started again: by a loop of the "
        "shell, and by the launcher itself with --max_restart and etcd",
        "the run goes on from its latest checkpoint and comes to what the unbroken one does",
        started_again,
    ),
)
