"""The tuning of the process: what is chosen where, and that a user's choice stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paddlenlp_ext.process import runtime

ROOT = Path(__file__).parents[2]
OWN = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "MKL_DEBUG_CPU_TYPE")


def tuned(program: str = "", **environment: str) -> dict[str, str]:
    """Tune a fresh process; return what it set."""
    clean = {name: value for name, value in os.environ.items() if name not in OWN}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import json, sys\n{program}\nfrom paddlenlp_ext.process.runtime import tune\n"
            "print(json.dumps(tune(verbose=True)))",
        ],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.startswith("runtime: ")
    assert done.stderr.count("\n") == 1
    return json.loads(done.stdout)


def test_threads_and_waiting():
    done = tuned()
    assert done["OMP_NUM_THREADS"] == str(runtime.available_cores())
    assert done["OMP_WAIT_POLICY"] == "PASSIVE"


def test_a_users_choice_stays():
    done = tuned(
        OMP_NUM_THREADS="3", KMP_BLOCKTIME="9", MKL_DEBUG_CPU_TYPE="4", MALLOC_ARENA_MAX="1"
    )
    assert done == {"OMP_WAIT_POLICY": "PASSIVE"}


def test_the_switch_turns_all_off():
    assert tuned(PADDLENLP_EXT_TUNE="0") == {}


def test_after_paddle_only_what_still_works():
    done = tuned("sys.modules['paddle'] = None")
    assert not {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"} & done.keys()


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({}, 1),
        ({"PADDLE_TRAINERS_NUM": "4"}, 4),
        ({"PADDLE_TRAINERS_NUM": "8", "PADDLE_LOCAL_SIZE": "2"}, 2),
        ({"PADDLE_LOCAL_SIZE": "0"}, 1),
        ({"PADDLE_LOCAL_SIZE": "x"}, 1),
    ],
)
def test_processes_of_this_machine(environment, count):
    assert runtime.local_processes(environment) == count


def test_processes_share_the_cores():
    cores = runtime.available_cores()
    assert tuned(PADDLE_LOCAL_SIZE="2")["OMP_NUM_THREADS"] == str(max(1, cores // 2))
    assert tuned(PADDLE_LOCAL_SIZE="999")["OMP_NUM_THREADS"] == "1"


def test_threads_are_divided_among_processes_to_be_started(monkeypatch):
    monkeypatch.setattr(runtime, "available_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.delenv(runtime.OWN_THREADS, raising=False)
    runtime.share_threads(4)
    assert os.environ["OMP_NUM_THREADS"] == "8"  # the user's
    monkeypatch.setenv(runtime.OWN_THREADS, "8")
    runtime.share_threads(4)
    assert os.environ["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"cpu.max": "150000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_a_containers_quota_bounds_the_cores(tmp_path, monkeypatch, files, most):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3, 4}, raising=False)
    for name, text in files.items():
        path = Path(tmp_path / name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")
    assert runtime.available_cores(tmp_path) == (most or 5)


@pytest.mark.parametrize(
    ("vendor", "flags", "path"),
    [
        ("AuthenticAMD", "sse avx avx2", {"MKL_DEBUG_CPU_TYPE": "5"}),
        ("AuthenticAMD", "avx2 avx512f", {"MKL_DEBUG_CPU_TYPE": "7"}),
        ("AuthenticAMD", "sse avx", {}),
        ("GenuineIntel", "avx2 avx512f", {}),
        (None, "", {}),
    ],
)
def test_the_code_path_is_chosen_on_amd_only(vendor, flags, path):
    assert runtime.mkl_code_path({"vendor_id": vendor, "flags": flags}) == path


def test_results_change_by_rounding_only():
    program = (
        "import sys\n"
        "from paddlenlp_ext.process.runtime import tune\n"
        "tune()\n"
        "import numpy as np, paddle\n"
        "random = np.random.default_rng(0)\n"
        "a, b = (random.standard_normal(s).astype('float32') for s in ((61, 770), (770, 53)))\n"
        "product = paddle.matmul(paddle.to_tensor(a), paddle.to_tensor(b)).numpy()\n"
        "exact = a.astype('float64') @ b.astype('float64')\n"
        "sys.exit(str(abs(product - exact).max()) if abs(product - exact).max() > 1e-4 else 0)\n"
    )
    for switch in ("0", "1"):
        environment = {name: value for name, value in os.environ.items() if name not in OWN}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env=environment | {"PADDLENLP_EXT_TUNE": switch},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


IMPORTING = """
from paddlenlp_ext.cli import program
from paddlenlp_ext.process import runtime
program.run(runtime.import_paddle)
"""


def ended(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that finds what is in a folder before everything else."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_paddle_is_imported_is_no_missing_package(number, code, tmp_path):
    # Paddle's own import makes such an error of what a signal's handler raises.
    (tmp_path / "paddle.py").write_text(
        "import os, signal\n"
        "try:\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "except BaseException as error:\n"
        "    raise ImportError('initialization failed') from error\n"
        f"signal.signal({int(number)}, lambda *_: os._exit(9))\n"
    )
    done = ended(IMPORTING, tmp_path)
    assert (done.returncode, done.stderr) == (code, "")


def test_logs_are_written_after_paddle_was_imported(tmp_path):
    program = """
import logging
from paddlenlp_ext.process import runtime
runtime.import_paddle()
logging.getLogger("paddlenlp_ext.training").warning("what a user should know")
"""
    done = ended(program, tmp_path)
    assert done.stderr.count("what a user should know") == 1


LARGE = """
from paddlenlp_ext.process import runtime
runtime.tune()
import ctypes
CALL
malloc = ctypes.CDLL(None).malloc
malloc.argtypes, malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
block = malloc(1 << 27)
heap = [line.split()[0].split("-") for line in open("/proc/self/maps") if "[heap]" in line]
print(any(int(begin, 16) <= block < int(end, 16) for begin, end in heap))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="about GNU's C library")
@pytest.mark.parametrize(
    ("call", "environment", "kept"),
    [
        ("pass", {}, "False"),
        ("runtime.keep_large_blocks()", {}, "True"),
        ("runtime.keep_large_blocks()", {runtime.SWITCH: "0"}, "False"),
        ("runtime.keep_large_blocks()", {"MALLOC_ARENA_MAX": "2"}, "False"),
    ],
)
def test_large_blocks_are_kept_when_it_is_said(call, environment, kept):
    program = LARGE.replace("CALL", call)
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == kept
