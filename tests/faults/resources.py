"""Disks that are full or may not be written to, and memory that runs out."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from paddlenlp_ext.training import folders
from tests.faults.runs import Ended, flags, result, run, unbroken
from tests.faults.table import Fault, Measured, Scale, joined

# In a namespace of its own a user may mount; what is left is copied out, since the mount ends too.
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
MOUNT = (
    'mount {how} "$1" && shift && "$@"; code=$?; cp -r "{output}/." "{copy}"; exit $code',
    "sh",
)
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run([*NAMESPACE, "mount -t tmpfs none /mnt"], check=False, stderr=-3)
    return tried.returncode == 0


def _whole(output: Path) -> int:
    """Count the checkpoints that are as they were written; a damaged one counts as minus 100."""
    found = [folders.damage(path) for path in output.glob("model_*")]
    return sum(-100 if problem else 1 for problem in found)


def disks(scale: Scale) -> Measured:
    """Train into a disk that becomes full, into one that cannot be written to, into another one."""
    unbroken(scale.folder, 1)
    other = _other_disk(scale)
    if not _can_mount():
        return joined(other, Measured("full and read-only disks: mounting is not allowed", None))
    size = sum(p.stat().st_size for p in (scale.folder / "unbroken-1/out/model_3").rglob("*"))
    full = _run_in(scale, "full", f"-t tmpfs -o size={size * 7 // 4} none", made=False)
    read_only = _run_in(scale, "read-only", "", made=True)
    return joined(full, read_only, other)


def _other_disk(scale: Scale) -> Measured:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == scale.folder.stat().st_dev:
        return Measured("another file system: there is none", None)
    output = shared / scale.folder.name
    try:
        ended = run(flags(scale.folder, output), scale.folder / "other")
        same = ended.code == 0 and result(output) == unbroken(scale.folder, 1)
    finally:
        shutil.rmtree(output, ignore_errors=True)
    return Measured("another file system: " + ("identical" if same else ended.output[-200:]), same)


def _run_in(scale: Scale, name: str, how: str, *, made: bool) -> Measured:
    place = scale.folder / name
    output, copy = place / "out", place / "copy"
    output.mkdir(parents=True)
    given = flags(scale.folder, output)
    if made:
        ended = run(flags(scale.folder, output, max_steps=3), place)
        copy, prefix = output, (*NAMESPACE, READ_ONLY, "sh", str(output))
    else:
        copy.mkdir()
        shell, zeroth = MOUNT
        shell = shell.format(how=how, output=output, copy=copy)
        prefix = (*NAMESPACE, shell, zeroth, str(output))
    ended = run(given, place, prefix=prefix)
    is_named = str(output) in ended.error and (
        made or bool(re.search(r"[\d,]+ bytes", ended.error))
    )
    good = ended.code == 2 and is_named and _whole(copy) >= 1 and "Traceback" not in ended.output
    text = f"{name} disk: " + (
        f"one line with the path{'' if made else ' and bytes'}, {_whole(copy)} earlier whole"
        if good
        else ended.output[-300:]
    )
    return Measured(text, good)


def memory(scale: Scale) -> Measured:
    """Ask for 128 TiB in a step."""
    place = scale.folder / "memory"
    fault = {"phase": "forward pass", "calls": 5, "action": "memory"}
    ended = run(flags(scale.folder, place / "out"), place, fault=fault)
    kept = _whole(place / "out")
    return joined(
        Measured("one line" if _is_one_line(ended) else ended.output[-300:], _is_one_line(ended)),
        Measured(f"{kept} of 1 checkpoint kept", kept == 1),
    )


def _is_one_line(ended: Ended) -> bool:
    words = ("rows of", "tokens", "--batch_size", "--max_seq_length", "--recompute")
    return ended.code == 2 and all(word in ended.error for word in words)


FAULTS = (
    Fault(
        8,
        "the output folder on a disk that becomes full, a read-only one, another file system",
        "earlier checkpoints whole; one line with path and free bytes; an exit code other than 0",
        disks,
    ),
    Fault(
        10,
        "memory runs out in a step",
        "one line with batch size, length and three flags to change; the checkpoint kept",
        memory,
    ),
)
