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
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor
from paddle import distributed as dist
from paddle.base import core

from paddlenlp_ext.process import devices, launcher, machines, runtime
from paddlenlp_ext.process.devices import check_device
from paddlenlp_ext.process.signals import StopRequest, block_signals

Item = TypeVar("Item")

MEETING = 0.02  # seconds between two looks whether all have come
BUCKET = 1 << 23  # elements whose gradients are summed together: 32 MB of float32

# Of Paddle's own choices that differ from run to run on a GPU, those that can be made otherwise.
DETERMINISTIC = {"FLAGS_cudnn_deterministic": True, "FLAGS_embedding_deterministic": 1}
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"

# Where the processes of GPUs meet with numbers of the host, so that these wait for no device.
_of_hosts: Any = None

_meetings = itertools.count()  # each has its own number


def start(device: str, *, deterministic: bool = False) -> None:
    """Choose the device, and join the other processes, once, where a launcher started several.

    Args:
        device: "cpu", "gpu", "xpu" or "npu", or one of several: "gpu:1".
        deterministic: Choose what computes the same at every run, where that is slower.

    Raises:
        DeviceError: This machine, or this build of PaddlePaddle, does not have the device.
        LostProcessError: One of the launcher's processes has ended before all had met.
    """
    check_device(device)
    if deterministic:
        _compute_the_same()
    paddle.set_device(device)
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1 and not dist.is_initialized():
        runtime.require_open_files(runtime.OPEN_FILES_OF_SEVERAL)
        with launcher.joining():
            dist.init_parallel_env()
            if not devices.named(device).is_host:
                meet_as_hosts()


def meet_as_hosts() -> None:
    """Let numbers of the host go among the processes by gloo, which on a CPU all do."""
    global _of_hosts
    _of_hosts = dist.new_group(backend="gloo")


def _compute_the_same() -> None:
    """Set Paddle's flags for determinism, those that this build has, before a device is used."""
    os.environ.setdefault(WORKSPACE, ":4096:8")
    for flag, value in DETERMINISTIC.items():
        with suppress(ValueError):  # a build for CPUs has none
            paddle.set_flags({flag: value})


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
    place = None if _of_hosts is None else paddle.CPUPlace()
    tensor = paddle.to_tensor(np.asarray(values, np.float64), place=place)
    kind = dist.ReduceOp.SUM if operation == "sum" else dist.ReduceOp.MAX
    dist.all_reduce(tensor, op=kind, group=_of_hosts)
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

    def come(number: int) -> int:
        """Add to those who have come; return how many they are."""
        with block_signals():  # one that came between question and answer would be an error
            return int(store.add(place, number))

    there = come(1)
    while there < world_size():
        launcher.require_machines()
        time.sleep(MEETING)
        there = come(0)


def share(parameters: Sequence[Tensor]) -> None:
    """Give the processes of all machines the numbers that the first one has.

    Those of one machine have read the same files, and drawn the same numbers.
    """
    if machines.count(os.environ) > 1:
        for parameter in parameters:
            dist.broadcast(parameter, 0)


class GradientSum:
    """Sums the gradients of all processes, bucket by bucket while the backward pass goes on.

    A process whose part of a batch is empty has no gradients, and takes part with zeros. Paddle's
    DataParallel is not used: it averages, which is wrong where counts of labels differ, and waits
    forever for an empty part.

    Args:
        parameters: The same on all processes.
        dtype: In which type gradients are summed; None in that of each parameter.
        result: Type of the sums; None likewise.
    """

    def __init__(
        self, parameters: Sequence[Tensor], *, dtype: str | None = None, result: str | None = None
    ) -> None:
        self._parameters = parameters
        self._dtype, self._result = dtype, result
        # Gradients come about from the last parameter to the first. All processes sum the buckets
        # in the same order, whichever is whole first.
        self._buckets = _buckets(parameters[::-1]) if world_size() > 1 else []
        self._missing = [set(range(len(bucket))) for bucket in self._buckets]
        self._sums: list[tuple[Tensor, Any]] = []

    def backward(self, loss: Tensor, *, is_last: bool) -> None:
        """Compute the gradients of a loss; of this process's last one, sum them meanwhile."""
        hooks = [
            parameter.register_hook(partial(self._note, number, place))
            for number, bucket in enumerate(self._buckets if is_last else ())
            for place, parameter in enumerate(bucket)
        ]
        try:
            loss.backward()
        finally:
            for hook in hooks:
                hook.remove()

    def finish(self) -> list[Tensor | None]:
        """Begin to sum what is left, and return the sum of each parameter, or None for nothing.

        With several processes that may be zeros, for others that have nothing either.
        """
        while len(self._sums) < len(self._buckets):
            self._begin()
        if not self._buckets:
            return [parameter.grad for parameter in self._parameters]
        sums: list[Tensor | None] = []
        for bucket, (flat, task) in zip(self._buckets, self._sums, strict=True):
            task.wait()
            parts = paddle.split(flat, [_size(parameter) for parameter in bucket])
            for parameter, part in zip(bucket, parts, strict=True):
                dtype = self._result or parameter.dtype
                sums.append(part.reshape(parameter.shape).astype(dtype))
        return sums[::-1]

    def give(self, sums: Sequence[Tensor | None], has_gradient: Sequence[bool]) -> None:
        """Give parameters their sums.

        Args:
            sums: What `finish` returned.
            has_gradient: Whether any process has a gradient of each.
        """
        for parameter, total, has in zip(self._parameters, sums, has_gradient, strict=True):
            if total is None or not has or not self._buckets:
                continue
            if parameter.grad is not None and parameter.grad.dtype == total.dtype:
                paddle.assign(total, output=parameter.grad)
            else:  # setting a gradient makes the host wait, and few are set
                parameter.clear_gradient(set_to_zero=False)
                parameter.grad = total

    def _note(self, number: int, place: int, gradient: Tensor) -> None:
        """Take notice of a gradient, before Paddle adds it to what its parameter has."""
        if place not in self._missing[number]:
            raise RuntimeError("a parameter has two gradients in one backward pass")
        self._missing[number].remove(place)
        new = self._buckets[number][place], gradient
        while len(self._sums) < len(self._buckets) and not self._missing[len(self._sums)]:
            self._begin(new)

    def _begin(self, new: tuple[Tensor, Tensor] | None = None) -> None:
        """Begin to sum the next bucket; `new` is a parameter, and what its gradient lacks yet."""
        flat = []
        with paddle.no_grad():
            for parameter in self._buckets[len(self._sums)]:
                parts = [] if parameter.grad is None else [parameter.grad]
                parts += [new[1]] if new is not None and new[0] is parameter else []
                dtype = self._dtype or parameter.dtype
                parts = [part.reshape([-1]).astype(dtype) for part in parts]
                size = _size(parameter)
                flat.append(paddle.add_n(parts) if parts else paddle.zeros([size], dtype))
            whole = paddle.concat(flat)
        self._sums.append((whole, dist.all_reduce(whole, sync_op=False)))


def _buckets(parameters: Sequence[Tensor]) -> list[list[Tensor]]:
    """Part parameters into neighbours of one type, of about `BUCKET` elements together."""
    buckets: list[list[Tensor]] = []
    room = 0
    for parameter in parameters:
        size = _size(parameter)
        if not buckets or size > room or parameter.dtype != buckets[-1][0].dtype:
            buckets.append([])
            room = BUCKET
        buckets[-1].append(parameter)
        room -= size
    return buckets


def _size(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape))
