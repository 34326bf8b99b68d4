"""Several processes: who one is, and how their numbers come together.

Paddle's launcher (`python -m paddle.distributed.launch --nproc_per_node N script.py`) starts the
processes, or `process.spawn` does; without either there is one. Paddle takes gloo on a CPU, NCCL on
GPUs and BKCL on XPUs by itself.
"""

import itertools
import os
import random
import time
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor
from paddle import distributed as dist
from paddle.base import core

from paddlenlp_ext.process import launcher, machines, runtime
from paddlenlp_ext.process.devices import check_device
from paddlenlp_ext.process.signals import StopRequest

Item = TypeVar("Item")

MEETING = 0.02  # seconds between two looks whether all have come
BUCKET = 1 << 24  # elements that are reduced together: 64 MB of float32

_meetings = itertools.count()  # each has its own number


def start(device: str) -> None:
    """Choose the device, and join the other processes, once, where a launcher started several.

    Args:
        device: "cpu", "gpu", "xpu" or "npu", or one of several: "gpu:1".

    Raises:
        DeviceError: This machine, or this build of PaddlePaddle, does not have the device.
        LostProcessError: One of the launcher's processes has ended before all had met.
    """
    check_device(device)
    paddle.set_device(device)
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1 and not dist.is_initialized():
        runtime.require_open_files(runtime.OPEN_FILES_OF_SEVERAL)
        with launcher.joining():
            dist.init_parallel_env()


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(dist.get_rank())


def world_size() -> int:
    """Return the number of processes."""
    return int(dist.get_world_size())


def seed_everything(seed: int, step: int = 0, rank: int = 0) -> None:
    """Seed Paddle, NumPy and Python from what the moment is, not from what came before it.

    Called before every update, it makes a resumed run draw what the uninterrupted one drew, with
    no random state to save.
    """
    mixed = int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])
    paddle.seed(mixed)
    np.random.seed(mixed)
    random.seed(mixed)


def all_reduce(values: Sequence[float], operation: Literal["sum", "max"] = "sum") -> list[float]:
    """Bring a few numbers of all processes together, in float64."""
    if world_size() == 1:
        return [float(value) for value in values]
    tensor = paddle.to_tensor(np.asarray(values, np.float64))
    dist.all_reduce(tensor, op=dist.ReduceOp.SUM if operation == "sum" else dist.ReduceOp.MAX)
    return [float(value) for value in tensor.numpy()]


def gather(item: Item) -> list[Item]:
    """Give every process the items of all, in the order of their ranks."""
    if world_size() == 1:
        return [item]
    items: list[Item] = []
    dist.all_gather_object(items, item)
    return items


def gather_rows(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Join the rows of all processes, in the order of their ranks.

    Args:
        array: Any number of rows, also none; [N, ...].
    """
    return np.concatenate([part for part in gather(array) if len(part)] or [array])


def agreed_signal(stop: StopRequest) -> int:
    """Return the signal that any of the processes received, or 0; all of them call this."""
    return stop.signal_of(all_reduce(stop.flags))


def barrier() -> None:
    """Wait for all processes, however long one of them works alone.

    Gloo gives up after 30 s, NCCL after half an hour; asking Paddle's store has no end but theirs.

    Raises:
        LostProcessError: One of another machine is lost.
    """
    if world_size() == 1:
        return
    store, place = core.create_or_get_global_tcp_store(), f"paddlenlp_ext/{next(_meetings)}"
    store.add(place, 1)
    while store.add(place, 0) < world_size():
        launcher.require_machines()
        time.sleep(MEETING)


def share(parameters: Sequence[Tensor]) -> None:
    """Give the processes of all machines the numbers that the first one has.

    Those of one machine have read the same files, and drawn the same numbers.
    """
    if machines.count(os.environ) > 1:
        for parameter in parameters:
            dist.broadcast(parameter, 0)


def reduce_gradients(parameters: Sequence[Tensor], has_gradient: Sequence[bool]) -> None:
    """Sum the gradients of all processes, in place.

    A process whose part of a batch is empty has no gradients, and takes part with zeros. The sum
    is taken in float32 whatever the gradients are. Paddle's DataParallel is not used: it averages,
    which is wrong where counts of labels differ, and waits forever for an empty part.

    Args:
        parameters: The same on all processes.
        has_gradient: Whether any process has a gradient of each.
    """
    if world_size() == 1:
        return
    taking_part = [p for p, has in zip(parameters, has_gradient, strict=True) if has]
    for bucket in _buckets(taking_part):
        gradients = [paddle.zeros_like(p) if p.grad is None else p.grad for p in bucket]
        flat = paddle.concat([g.reshape([-1]).astype("float32") for g in gradients])
        dist.all_reduce(flat)
        parts = paddle.split(flat, [_size(p) for p in bucket])
        for parameter, gradient, part in zip(bucket, gradients, parts, strict=True):
            parameter.grad = part.reshape(parameter.shape).astype(gradient.dtype)


def _buckets(parameters: Sequence[Tensor]) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    room = 0
    for parameter in parameters:
        if _size(parameter) > room:
            buckets.append([])
            room = BUCKET
        buckets[-1].append(parameter)
        room -= _size(parameter)
    return buckets


def _size(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape))
