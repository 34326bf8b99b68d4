"""Tune the process to the CPU it runs on, before Paddle computes its first matrix product.

Scripts call `tune()` first of all, `paddlenlp_ext.transformers` does when it is asked for a name,
and nothing else: importing a module changes nothing in the process. Every setting is left as it is
where the user has made it already, and `PADDLENLP_EXT_TUNE=0` turns all of it off.

Measured with Paddle 3.3.1 on two cores of an AMD EPYC (Zen 4): the matrix product of a feed-forward
layer takes 116 ms as installed and 24 to 31 ms with `MKL_DEBUG_CPU_TYPE`; a training step of four
layers 384 wide takes 1.48 s as installed and 1.15 s with the malloc thresholds. The results differ
from the untuned ones by float32 rounding only: the products are summed in another order.
"""

import contextlib
import ctypes
import io
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process.signals import block_signals, defer_signals

SWITCH = "PADDLENLP_EXT_TUNE"
OPEN_FILES, OPEN_FILES_OF_SEVERAL = 32, 128  # at once, by one process and by each of several
OWN_THREADS = "PADDLENLP_EXT_THREADS"  # tells child processes that the thread count is ours
PROCESS_COUNTS = ("PADDLE_LOCAL_SIZE", "PADDLE_TRAINERS_NUM")  # the launcher's, and spawn's

# From malloc.h of the GNU C library.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_MMAP_MAX = -4
NEVER = -1
# As much freed memory is kept for the next step, instead of given back and faulted in again.
KEEP_FREED_BYTES = 1 << 30
# Blocks below this size come from the heap that is kept; the largest value that glibc takes.
HEAP_BLOCK_BYTES = 1 << 25


def tune(verbose: bool = False) -> dict[str, str]:
    """Choose threads, wait policy, MKL's code path and malloc thresholds for this machine.

    After Paddle's import only what still works is done: MKL's code path, which is read at the first
    matrix product, and the malloc thresholds.

    Args:
        verbose: Print what was set, in one line on stderr.

    Returns:
        The settings that this call made, by name.
    """
    done: dict[str, str] = {}
    if os.environ.get(SWITCH, "1") != "0":
        if "paddle" not in sys.modules:
            if "OMP_NUM_THREADS" not in os.environ:
                threads = str(max(1, available_cores() // local_processes(os.environ)))
                done |= {"OMP_NUM_THREADS": threads, OWN_THREADS: threads}
            # Waiting threads sleep instead of spinning: OpenMP runtimes that share a process, and
            # processes that share cores, otherwise keep each other from working. MKL's do so after
            # a millisecond: the products of a sentence follow sooner than a thread is woken.
            done |= {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "1"}
        done |= mkl_code_path(processor())
        done = {name: value for name, value in done.items() if name not in os.environ}
        os.environ.update(done)
        done |= _keep_freed_memory()
    if verbose:
        settings = (f"{name}={value}" for name, value in done.items() if name != OWN_THREADS)
        print("runtime:", " ".join(settings) or "nothing to set", file=sys.stderr)
    return done


def import_paddle() -> None:
    """Import Paddle without what it says about settings that were chosen on purpose.

    It warns of more than one thread, and of a compiler cache that nothing here needs; and it puts a
    handler of its own, which ends the process at once, in place of that for SIGTERM. A signal that
    comes meanwhile waits: Paddle would take it for a package that is not there.
    """
    if "paddle" in sys.modules:
        return
    said = io.StringIO()
    with (
        block_signals(),
        defer_signals(),
        contextlib.redirect_stderr(said),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="No ccache found")
        try:
            import paddle  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"PaddlePaddle cannot be imported ({error}); install it: pip install paddlepaddle, "
                "or on a GPU machine paddlepaddle-gpu"
            ) from error
    for line in said.getvalue().splitlines(keepends=True):
        if "OMP_NUM_THREADS" not in line and sys.stderr is not None:
            sys.stderr.write(line)
    _give_back_stderr(said)


def _give_back_stderr(said: io.StringIO) -> None:
    """Let handlers of logs that were made while `said` stood for stderr write to stderr."""
    loggers = (logging.root, *logging.root.manager.loggerDict.values())
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):  # a placeholder has none
            if isinstance(handler, logging.StreamHandler) and handler.stream is said:
                handler.setStream(sys.stderr)


def require_open_files(count: int) -> None:
    """Let this process have so many files open at once.

    Raises:
        UserError: The system allows fewer.
    """
    with contextlib.suppress(ImportError):  # Windows
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY or soft >= count:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
        except (OSError, ValueError):
            raise UserError(
                f"this process may have {soft} files open at once, and needs up to {count}; allow "
                f"more (ulimit -n {count})"
            ) from None


def share_threads(processes: int) -> None:
    """Divide the threads that `tune` has chosen among processes that are about to start."""
    if os.environ.get(OWN_THREADS) == os.environ.get("OMP_NUM_THREADS", ""):
        threads = str(max(1, available_cores() // processes))
        os.environ.update({"OMP_NUM_THREADS": threads, OWN_THREADS: threads})


def available_cores(cgroup_root: Path = Path("/sys/fs/cgroup")) -> int:
    """Count the cores that this process may use: its affinity, bounded by the container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)  # absent on macOS and Windows
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    for quota in _cgroup_quotas(cgroup_root):
        cores = min(cores, max(1, math.floor(quota)))
    return cores


def local_processes(environment: Mapping[str, str]) -> int:
    """Count the processes that share this machine in a distributed run."""
    for name in PROCESS_COUNTS:
        if environment.get(name, "").isdigit():
            return max(1, int(environment[name]))
    return 1


def mkl_code_path(processor: Mapping[str, str]) -> dict[str, str]:
    """Choose MKL's code path on AMD, where it otherwise takes the slowest one.

    On an Intel processor MKL chooses well by itself, and a wrong path could be an illegal
    instruction, so nothing is set there.
    """
    flags = processor.get("flags", "").split()
    if processor.get("vendor_id") != "AuthenticAMD" or "avx2" not in flags:
        return {}
    return {"MKL_DEBUG_CPU_TYPE": "7" if "avx512f" in flags else "5"}


def _cgroup_quotas(root: Path) -> Iterator[float]:
    """Read CPU quotas in cores: those of cgroup version 2, of this group and its parents, or 1."""
    own = _read(Path("/proc/self/cgroup")).strip().rpartition("0::/")[2]
    for folder in (root / own, *(root / own).parents):
        quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
        if quota.isdigit() and period.isdigit():
            yield int(quota) / int(period)
        if folder == root:
            break
    quota = _read(root / "cpu" / "cpu.cfs_quota_us").strip()  # version 1; -1 is "no limit"
    period = _read(root / "cpu" / "cpu.cfs_period_us").strip()
    if quota.isdigit() and period.isdigit():
        yield int(quota) / int(period)


def processor() -> dict[str, str]:
    """Read the fields of the first processor in /proc/cpuinfo; empty elsewhere than on Linux."""
    first, _, _ = _read(Path("/proc/cpuinfo")).partition("\n\n")
    fields = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}


@cache
def keep_large_blocks() -> None:
    """Let malloc keep freed blocks of any size, too; for when all that stays has its memory.

    The training loop says so after its first update, and before an evaluation. Gradients of large
    word embeddings would otherwise be given back and faulted in again at every step; but what stays
    (weights, the optimizer's state) should not lie between them, where it leaves holes.
    """
    if (mallopt := _mallopt()) is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)


def _keep_freed_memory() -> dict[str, str]:
    """Let malloc keep the memory of freed tensors, which the next step needs again."""
    if (mallopt := _mallopt()) is None:
        return {}
    mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEEP_FREED_BYTES)
    return {"malloc": "keeps-freed-memory"}


def _mallopt() -> Callable[[int, int], int] | None:
    """Find what sets malloc; None where the user does, and for other C libraries than GNU's."""
    is_set = any(
        name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")) for name in os.environ
    )
    if is_set or os.environ.get(SWITCH, "1") == "0" or sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "mallopt", None)


def _read(path: Path) -> str:
    """Read a small text file; empty where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""
