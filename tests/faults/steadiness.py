"""What must not change or grow: results, open files, memory; and what must not be said."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from paddlenlp_ext.training import folders
from tests.faults.creation import SAMPLE as CORPUS
from tests.faults.creation import SCRIPT as CREATE
from tests.faults.injected import SCRIPT
from tests.faults.runs import encoder, flags, result, run
from tests.faults.table import Fault, Measured, Scale, all_of, joined
from tests.scripts.test_bert_run_glue import ROOT

TOKEN = "hf_MARKERMARKERMARKER"
KEPT = 3
WARMING_UP = 4  # checkpoints, in which memory is taken that each run needs


def secrets(scale: Scale) -> Measured:
    """Look for a token in everything that runs leave, one of which fails."""
    holding = readable = count = 0
    fault = {"phase": "step", "calls": 5, "rank": 1, "action": "exception"}
    for name, processes, given in (("one", 1, None), ("two", 2, None), ("failed", 2, fault)):
        place = scale.folder / name
        output = place / "log"  # one folder for both, as on ERNIE-M's page
        ended = run(
            flags(scale.folder, output, processes),
            place,
            processes=processes,
            fault=given,
            HF_TOKEN=TOKEN,
        )
        holding += TOKEN in ended.output
        for path in (one for one in place.rglob("*") if one.is_file()):
            count += 1
            holding += TOKEN.encode() in path.read_bytes()
            dump = path.name.startswith(("backup_env", "envlog", "default."))
            readable += dump and bool(path.stat().st_mode & 0o077)
    return joined(
        Measured(f"in {holding} of {count} files", holding == 0),
        Measured(f"{readable} of the launcher's dumps readable by others", readable == 0),
    )


def determinism(scale: Scale) -> Measured:
    """Train the same again, with other hash seeds, with one process and with two."""
    found = []
    seeds = ("0", "random") if scale.short else ("0", "1", "random")
    for processes in (1, 2):
        results = set()
        for seed in seeds:
            place = scale.folder / f"{processes}-{seed}"
            given = flags(scale.folder, place / "out", processes)
            run(given, place, processes=processes, PYTHONHASHSEED=seed)
            results.add(str(result(place / "out")))
        same = len(seeds) if len(results) == 1 else 0
        found.append(all_of(same, len(seeds), f"identical (processes: {processes})"))
    return joined(*found, _shards(scale))


def _shards(scale: Scale) -> Measured:
    """Make pretraining data with other numbers of processes, of threads and of hashes."""
    results = set()
    ways = [
        ("1", "0", "true"),
        ("2", "random", "true"),
        ("4", "1", "false"),
        ("1", "random", "true"),
    ]
    for number, (processes, seed, threads) in enumerate(ways):
        place = scale.folder / f"shards-{number}"
        flags = {"input_file": CORPUS, "output_file": place / "train.hdf5", "num_shards": 3}
        flags |= {"vocab_file": encoder(scale.folder) / "vocab.txt", "processes": processes}
        flags |= {"block_bytes": 5000, "dupe_factor": 2}
        given = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        environment = {"PYTHONHASHSEED": seed, "TOKENIZERS_PARALLELISM": threads}
        run(given, place, script=CREATE, **environment)
        digests = [hashlib.sha256(path.read_bytes()) for path in sorted(place.glob("*.hdf5"))]
        results.add(tuple(digest.hexdigest() for digest in digests))
    same = len(ways) if len(results) == 1 and len(min(results)) == 3 else 0
    return all_of(same, len(ways), "sets of shards identical (processes: 1, 2, 4)")


def soak(scale: Scale) -> Measured:
    """Train for long, and look at memory, open files and checkpoints meanwhile."""
    saves = scale.of(50, 12)
    steps = saves * scale.of(100, 50)
    output = scale.folder / "out"
    given = flags(
        scale.folder,
        output,
        max_steps=steps,
        save_steps=steps // saves,
        logging_steps=steps,
        keep_checkpoints=KEPT,
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    seen: dict[str, tuple[int, int]] = {}  # checkpoint to the least kB and open files after it
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), *given], env=environment, stdout=-3, stderr=-3
    ) as process:
        while process.poll() is None:
            latest = output / "latest"
            with suppress(OSError, StopIteration):  # it has just ended
                if latest.exists():
                    name, (memory, files) = latest.read_text(), _usage(process.pid)
                    least = seen.get(name, (memory, files))
                    seen[name] = (min(memory, least[0]), min(files, least[1]))
            time.sleep(0.05)
    # What is needed at first is not growth, nor is what draws the curves after the last one.
    first, *later = list(seen.values())[WARMING_UP:-1]
    grown = (max(memory for memory, _ in later) - first[0]) / 1024
    files = [files for _, files in (first, *later)]
    left = sorted(folders.read_manifest(path)["step"] for path in output.glob("model_*"))
    newest = [steps - steps // saves * back for back in reversed(range(KEPT))]
    exact = left[-KEPT:] == newest and len(left) in (KEPT, KEPT + 1)
    return joined(
        Measured(f"{steps:,} steps, {saves} checkpoints", process.returncode == 0),
        Measured(f"{grown:+.1f} MB", grown < 50),
        Measured(f"{min(files)} to {max(files)} open files", max(files) - min(files) <= 1),
        Measured(f"the newest {KEPT} and the best kept", exact),
    )


def _usage(pid: int) -> tuple[int, int]:
    status = Path(f"/proc/{pid}/status").read_text()
    memory = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(memory.split()[1]), len(os.listdir(f"/proc/{pid}/fd"))


FAULTS = (
    Fault(
        21,
        "runs with HF_TOKEN set, one process, two, and two of which one fails; one folder for "
        "logs and checkpoints",
        "the token in no file and no log line; the launcher's dumps readable by the owner only",
        secrets,
    ),
    Fault(
        22,
        "the same run three times with other seeds of Python's hashes, by one process, by two; "
        "the same shards by 1, 2 and 4 processes",
        "the same losses, weights and optimizer state; the same bytes",
        determinism,
    ),
    Fault(
        25,
        "5,000 steps with 50 checkpoints",
        "memory grows by less than 50 MB; open files constant; the newest N and the best kept",
        soak,
    ),
)
