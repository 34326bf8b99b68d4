"""What is closed, full or small around a run: it goes on, or one line says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from paddlenlp_ext.cli import program

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
TINY = str(ROOT / "tests/training/tiny_run.py")


def closing(*numbers: int) -> Callable[[], None]:
    return lambda: [os.close(number) for number in numbers] and None


def limiting(name: str, count: int) -> Callable[[], None]:
    resource = pytest.importorskip("resource")
    return lambda: resource.setrlimit(getattr(resource, name), (count, count))


# What files that are opened would be written over, and a progress bar writes to.
PROGRAM = """
import os, sys
from pathlib import Path
from paddlenlp_ext.cli import program
from paddlenlp_ext.process.streams import progress_bar
def main():
    place = Path(sys.argv[1])
    with place.open("w") as file:
        assert file.fileno() > 2
        for number in (1, 2):
            os.write(number, b"said by a library in C")
        print("said", flush=True)
        print("said", file=sys.stderr, flush=True)
        with progress_bar(3) as bar:
            bar.update(3)
        sys.stdin.read()
        os.system(f"{sys.executable} -c 'import sys; assert None not in (sys.stdin, sys.stderr)'"
                  " || touch " + str(place.with_suffix(".bad")))
        file.write("whole")
program.run(main)
"""


@pytest.mark.parametrize("closed", [(2,), (1,), (1, 2), (0,), (0, 1, 2), (0, 2)])
def test_a_script_runs_whose_streams_are_closed(tmp_path, closed):
    place = tmp_path / "file"
    streams = [subprocess.DEVNULL, *[subprocess.PIPE] * 2]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(place)],
        env=ENVIRONMENT,
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        preexec_fn=closing(*closed),
    )
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, place.read_text()) == (0, "whole")
    assert not place.with_suffix(".bad").exists()
    assert (b"said" in output) == (1 not in closed)
    assert (b"said" in errors) == (2 not in closed)


SHOWING = """
import logging, os, sys
from pathlib import Path
from paddlenlp_ext.cli import program
def main():
    logging.basicConfig()
    for number in range(5000):
        print(f"step {number}", flush=number % 2 == 0)
        print("note", file=sys.stderr)
        logging.getLogger().warning("a warning")
    os.system("echo of a child")
    Path(sys.argv[1]).touch()
program.run(main)
"""


@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
@pytest.mark.parametrize("kind", ["full", "no reader", "terminal"])
def test_a_stream_that_cannot_be_written_to_costs_nothing(tmp_path, stream, kind):
    if kind == "full":
        if not Path("/dev/full").exists():
            pytest.skip("needs /dev/full")
        writer = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, writer = os.pipe() if kind == "no reader" else os.openpty()
        os.close(reader)
    streams = {name: writer for name in ("stdout", "stderr") if stream in (name, "both")}
    other = tmp_path / "other"
    with other.open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", SHOWING, str(tmp_path / "done")],
            env=ENVIRONMENT,
            **{"stdout": file, "stderr": file} | streams,
        )
    os.close(writer)
    assert done.returncode == 0
    assert (tmp_path / "done").exists()
    said = other.read_text()
    if stream == "stdout":
        assert said.count("stdout: ") == 1
        assert "; the run goes on without" in said
        assert said.count("note\n") == 5000
    elif stream == "stderr":
        assert "step 4999\n" in said


def test_what_an_ascii_terminal_cannot_show_is_escaped():
    shown = ascii("left out: M\xfcnchen \u4e16")
    program = f"from paddlenlp_ext.cli import program\nprogram.run(lambda: print({shown}))\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=ENVIRONMENT | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"left out: M\\xfcnchen \\u4e16\n"


def test_streams_are_given_back(capsys):
    before = sys.stdout, sys.stderr
    with pytest.raises(SystemExit):
        program.run(lambda: print("shown"))
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "shown\n"


def test_the_library_works_in_a_process_without_stderr(tmp_path):
    program = (
        "from pathlib import Path\n"
        "from paddlenlp_ext.process.streams import progress_bar\n"
        "with progress_bar(None, unit='row') as bar: bar.update(1)\n"
        f"Path({str(tmp_path / 'done')!r}).touch()\n"
    )
    subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, preexec_fn=closing(2))
    assert (tmp_path / "done").exists()


LIMITED = "from paddlenlp_ext.cli import program\nprogram.run(lambda: print('ran'))\n"


@pytest.mark.parametrize("count", [12, 16, 24, 31])
def test_too_few_open_files_are_found_before_work(count):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED],
        env=ENVIRONMENT,
        preexec_fn=limiting("RLIMIT_NOFILE", count),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"may have {count} files open at once, and needs up to 32" in done.stderr
    assert "ulimit -n 32" in done.stderr


def test_a_limit_that_can_be_raised_is(tmp_path):
    command = f"ulimit -S -n 20; exec '{sys.executable}' -c \"{LIMITED}\""
    done = subprocess.run(["bash", "-c", command], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


@pytest.mark.parametrize("count", [40, 90])
def test_several_processes_need_more_open_files(tmp_path, count):
    done = subprocess.run(
        [sys.executable, TINY, "--processes", "2", "--output_dir", str(tmp_path)],
        env=ENVIRONMENT,
        preexec_fn=limiting("RLIMIT_NOFILE", count),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: this process may have {count} files")
    assert not any(tmp_path.iterdir())


STARTING = """
import errno, multiprocessing, os, sys, time
from paddlenlp_ext.cli import program
from paddlenlp_ext.process import spawn
def begin():
    first = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    first.start()
    print(first.pid, flush=True)
    raise {}
program.run(lambda: spawn._run(begin))
"""


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        ("OSError(errno.EROFS, 'Read-only file system')", "/dev/shm"),
        ("PermissionError(errno.EACCES, 'Permission denied')", "/dev/shm"),
        ("FileNotFoundError(errno.ENOENT, 'No such file or directory')", "/dev/shm"),
        ("OSError(errno.ENOSYS, 'Function not implemented')", "/dev/shm"),
        ("ImportError('no sem_open')", "/dev/shm"),
        ("OSError(errno.EMFILE, 'Too many open files')", "ulimit -n"),
        ("BlockingIOError(errno.EAGAIN, 'Resource temporarily unavailable')", "ulimit -u"),
    ],
)
def test_processes_that_cannot_be_started_are_one_line(error, cure):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", STARTING.format(error)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "processes of this run cannot be started" in done.stderr
    assert cure in done.stderr
    assert not Path(f"/proc/{done.stdout.strip()}").exists()  # the one that had begun
    assert time.monotonic() - began < 30


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs a /dev/shm of its own")
def test_a_read_only_dev_shm_is_one_line(tmp_path):
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = "mount -t tmpfs -o ro none /dev/shm"
    if subprocess.run([*own, mount], capture_output=True).returncode:
        pytest.skip("this machine makes no /dev/shm of its own")
    command = f"{mount} && exec '{sys.executable}' '{TINY}' --processes 2 --output_dir {tmp_path}"
    done = subprocess.run([*own, command], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: the processes of this run cannot be")
    assert not any(tmp_path.iterdir())


WAITING = """
import sys
from pathlib import Path
from paddlenlp_ext.process import locks
locks.NOTICE = 0.2
with locks.hold(Path(sys.argv[1])):
    print("has it", flush=True)
    sys.stdin.read(1)
"""


def test_who_waits_for_a_lock_says_for_whom(tmp_path):
    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WAITING, str(tmp_path / "a.lock")],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    first = started()
    assert first.stdout.readline() == "has it\n"
    second = started()
    said = second.stderr.readline()
    assert said.startswith("waiting for process ")
    assert said.endswith(f", which has {tmp_path / 'a.lock'}\n")
    first.communicate("x", timeout=30)
    assert second.communicate("x", timeout=30) == ("has it\n", "")
