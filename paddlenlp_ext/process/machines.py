"""Which of several machines is lost.

NCCL waits for a machine that is gone for half an hour, gloo for half a minute, and neither says
which one it was. So the first process of each machine keeps a connection to the very first process,
the hub, at the address that the launcher has given that one (`PADDLE_TRAINER_ENDPOINTS`; Paddle's
collectives do not use it). Lines of JSON go over it: who one is, that one is ready, that one is
still there, that one ends and why; and from the hub, who is lost. Paddle is not imported here.

A machine is lost when its connection is: the system closes that of a process that is gone, and
gives one up that nobody answers. One that answers and says nothing, since a process hangs or is
stopped, is only named where that has ended others.
"""

from __future__ import annotations

import hashlib
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from paddlenlp_ext.process.signals import block_signals

TICK = 0.2  # seconds between two looks at what there is to say
BEAT = 2.0  # seconds between two lines of one who has nothing to say
SILENCE = 10.0  # seconds without a line after which a machine is named as a cause
UNANSWERED = 30  # seconds after which the system gives a connection up
PATIENCE = 50.0  # seconds after a lost one's last line, at which who still waits for it is ended
FAREWELL = 5.0  # seconds in which a failure is told to machines that are not connected yet
LONGEST = 1 << 20  # bytes of a line

Report = dict[str, Any]


@dataclass
class Peer:
    """Another machine, at the end of a connection.

    Attributes:
        link: What lines go over.
        host: Its name.
        ranks: Its processes; none before it has said who it is.
        heard: When its last line came.
        is_ready: Whether its processes have met.
        has_ended: Whether it has said that it ends.
        unread: The beginning of a line.
    """

    link: socket.socket
    host: str = ""
    ranks: list[int] = field(default_factory=list)
    heard: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    has_ended: bool = False
    unread: bytes = b""

    def say(self, line: Report) -> None:
        """Send a line; that the other end is gone shows when lines are read."""
        with suppress(OSError):
            self.link.sendall(json.dumps(line).encode() + b"\n")

    def lines(self) -> list[Report]:
        """Return the lines that have come.

        Raises:
            OSError: The other end is gone, or says what nobody here would.
        """
        received = self.link.recv(1 << 16)
        *whole, self.unread = (self.unread + received).split(b"\n")
        if not received or len(self.unread) > LONGEST:
            raise ConnectionError
        try:
            return [dict(json.loads(line)) for line in whole]
        except (ValueError, TypeError, RecursionError):
            raise ConnectionError from None


def count(environment: Mapping[str, str]) -> int:
    """Count the machines of a launch."""
    number = environment.get("PADDLE_NNODES", "")
    return int(number) if number.isdigit() and environment.get("PADDLE_TRAINER_ENDPOINTS") else 1


class Watch:
    """Hears of the other machines, in a thread of its own.

    Args:
        ranks: Processes of this machine, of which this one is the first.
        on_lost: Called when one is lost, with what is known of it: `rank`, `ranks`, `host`,
            `reason`, maybe a `traceback`; and with None when a silent one is heard of again.
        on_end: Called with the same when one was lost so long ago that this process must end.

    Attributes:
        lost: What `on_lost` was called with last.
        all_ready: Set when the processes of all machines have met.

    Raises:
        OSError: The hub's address is taken.
    """

    def __init__(
        self,
        ranks: Sequence[int],
        on_lost: Callable[[Report | None], object],
        on_end: Callable[[Report], object],
    ) -> None:
        endpoints = os.environ["PADDLE_TRAINER_ENDPOINTS"]
        host, _, port = endpoints.split(",")[0].rpartition(":")
        self.lost: Report | None = None
        self.all_ready = threading.Event()
        self._is_hub = 0 in ranks
        self._address = host, int(port)
        self._others = count(os.environ) - 1 if self._is_hub else 1
        self._me = {
            "launch": hashlib.sha256(endpoints.encode()).hexdigest(),
            "host": socket.gethostname(),
            "ranks": [*ranks],
        }
        self._on_lost, self._on_end = on_lost, on_end
        self._peers: list[Peer] = []
        self._first: tuple[Report, float] | None = None  # a loss for good, and when it was heard of
        self._told: tuple[Report, float] | None = None  # a silence that the hub has told of
        self._is_ready = False
        self._last: Report | None = None
        self._selector = selectors.DefaultSelector()
        if self._is_hub:
            self._listener = socket.create_server(("", self._address[1]), backlog=self._others + 8)
            self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="machines", daemon=True)
        with block_signals():  # they are the main thread's, which they are to wake
            self._thread.start()

    @property
    def gone(self) -> Report | None:
        """What is known of a machine that is lost for good."""
        return self._first[0] if self._first else None

    @property
    def waits_for(self) -> str:
        """For whom, until `all_ready`."""
        if not self._is_hub:
            return f"process 0 at {self._address[0]}:{self._address[1]}"
        ready = sum(peer.is_ready for peer in self._peers)
        return f"other machines, of which {ready} of {self._others} are ready"

    def ready(self) -> None:
        """Say that the processes of this machine have met."""
        self._is_ready = True

    def end(self, report: Report | None) -> None:
        """Say that this machine ends, and what has ended it; return when that is said."""
        self._last = {"failed": report} if report else {"ended": True}
        self._thread.join(FAREWELL + 1)

    def _run(self) -> None:
        beat, until = 0.0, float("inf")
        while True:
            now = time.monotonic()
            if not self._is_hub and not self._peers and self._first is None:
                self._connect()
            if now >= beat:
                beat = now + BEAT
                self._say({})
            if not self._selector.get_map():
                time.sleep(TICK)
            for key, _ in self._selector.select(TICK):
                self._accept() if key.data is None else self._read(key.data)
            self._meet()
            self._judge()
            if self._last is not None:
                until = min(until, now + FAREWELL)
                all_there = sum(bool(peer.ranks) for peer in self._peers) >= self._others
                if all_there or "ended" in self._last or self._first or now >= until:
                    break
        self._say(self._last)
        for peer in self._peers:
            peer.link.close()

    def _say(self, line: Report) -> None:
        for peer in self._peers:
            if peer.ranks:  # it knows who says this
                peer.say(line)

    def _connect(self) -> None:
        with suppress(OSError):  # it is not there yet
            link = socket.create_connection(self._address, timeout=BEAT)
            self._add(Peer(link))
            self._peers[0].say(self._me)

    def _accept(self) -> None:
        with suppress(OSError):
            link, _ = self._listener.accept()
            self._add(Peer(link))

    def _add(self, peer: Peer) -> None:
        peer.link.settimeout(BEAT)
        options = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
        options["TCP_USER_TIMEOUT"] = UNANSWERED * 1000  # of what was sent
        for name, value in options.items():
            if hasattr(socket, name):  # not all systems have all of them
                level = socket.SOL_SOCKET if name == "SO_KEEPALIVE" else socket.IPPROTO_TCP
                peer.link.setsockopt(level, getattr(socket, name), value)
        self._peers.append(peer)
        self._selector.register(peer.link, selectors.EVENT_READ, peer)

    def _read(self, peer: Peer) -> None:
        try:
            for line in peer.lines():
                peer.heard = time.monotonic()
                self._hear(peer, line)
        except (OSError, KeyError, ValueError, TypeError):
            self._selector.unregister(peer.link)
            peer.link.close()
            self._peers.remove(peer)
            if peer.ranks and not peer.has_ended:
                reason = (
                    "ended without a word, as by SIGKILL, a crash or a loss of power; look at "
                    f"workerlog.0 on {peer.host}, and whether memory ran out"
                )
                self._lose(self._report(peer, reason), peer.heard)

    def _hear(self, peer: Peer, line: Report) -> None:
        if not peer.ranks:
            if line["launch"] != self._me["launch"]:
                raise ConnectionError  # of another launch
            peer.host, peer.ranks = str(line["host"]), [int(rank) for rank in line["ranks"]]
            if self._is_hub:
                peer.say(self._me)
        if "ready" in line:
            peer.is_ready = True
        if "ended" in line:
            peer.has_ended = True
        if "failed" in line:
            peer.has_ended = True
            self._lose(self._report(peer, **line["failed"]), peer.heard)
        if "lost" in line:
            told = line["lost"], time.monotonic() - float(line["ago"])
            if line.get("is_silent"):
                self._told = told if line["lost"] else None
            else:
                self._lose(*told)

    def _report(self, peer: Peer, reason: str, **more: Any) -> Report:
        return {"rank": peer.ranks[0], "reason": reason, **more} | {
            "host": peer.host,
            "ranks": peer.ranks,
        }

    def _lose(self, report: Report, heard: float) -> None:
        """Take note of the first loss: the others follow from it."""
        if self._first is None:
            self._first = report, heard
            if self._is_hub:
                self._say({"lost": report, "ago": time.monotonic() - heard})

    def _meet(self) -> None:
        """Let the processes go on that have met, when all have."""
        if not self._is_ready or self.all_ready.is_set():
            return
        if self._is_hub:
            if sum(peer.is_ready for peer in self._peers) >= self._others:
                self._say({"ready": True})
                self.all_ready.set()
        elif self._peers and self._peers[0].is_ready:
            self.all_ready.set()
        else:
            self._say({"ready": True})

    def _judge(self) -> None:
        """Find out who is lost now, tell of it where that is news, and end what must end."""
        now = time.monotonic()
        silent = min(
            (peer for peer in self._peers if peer.ranks and not peer.has_ended),
            key=lambda peer: peer.heard,
            default=None,
        )
        found = self._first or self._told
        if found is None and silent is not None and now > silent.heard + SILENCE:
            reason = f"has not been heard of for {SILENCE:.0f} s: it hangs, or was stopped"
            found = self._report(silent, reason), silent.heard
        report, heard = found or (None, now)
        if report != self.lost:
            self.lost = report
            self._on_lost(report)
            if self._is_hub and self._first is None:
                self._say({"lost": report, "ago": now - heard, "is_silent": True})
        if self._first is not None and now > heard + PATIENCE and self._last is None:
            self._on_end(self._first[0])
