"""Signals that come while the HDF5 library calls back into Python."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own, for the library crashes where this goes wrong.
PROGRAM = """
import os, signal, sys
from pathlib import Path

import numpy as np

from paddlenlp_ext.pretraining import writing
from paddlenlp_ext.pretraining.hdf5 import Column
from paddlenlp_ext.pretraining.shards import open_shard, read_slice


class Ended(BaseException):
    pass


def end(number, frame):
    raise Ended


def disturbed(name):
    original = getattr(writing._CarefulFile, name)

    def call(self, *given):
        global calls
        calls += 1
        if calls == wanted:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *given)

    return call


signal.signal(signal.SIGTERM, end)
for name in ("write", "truncate", "readinto", "seek"):
    setattr(writing._CarefulFile, name, disturbed(name))
layout = {"ids": Column("int32", "tokens"), "length": Column("int16")}
rows = {"ids": np.arange(1500, dtype=np.int32).reshape(500, 3), "length": np.arange(500)}
path = Path(sys.argv[1]) / "train.hdf5"
wanted = calls = ended = 0
while wanted == 0 or calls >= wanted:
    wanted, calls = wanted + 1, 0
    try:
        with writing.ShardWriter([path], layout, {"tokens": 3}, {}) as writer:
            writer.write(rows)
    except Ended:
        ended += 1
    if path.exists():  # as a whole, for the signal came as it was completed, or not at all
        shard = open_shard(path, layout)
        read = read_slice(shard, layout, 0, 500)
        assert all((read[name] == rows[name]).all() for name in layout)
        path.unlink()
    assert not list(path.parent.iterdir()), wanted
print(ended, wanted - 1)
"""


def test_a_signal_at_any_call_of_the_library_ends_the_writing_in_order(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    ended, calls = map(int, done.stdout.split())
    assert ended == calls > 10
