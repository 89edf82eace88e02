"""The workers: who gets which request, how long it may take, and what happens when one ends.

A worker has one `run()` at a time. Requests wait here, and not in a worker, so that they outlive it: what a worker
has begun is answered with an error when it ends, all else is done by the next.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from mldeploy_serving.channel import Head
from mldeploy_serving.http.application import Application
from mldeploy_serving.messages import Answer, Request
from mldeploy_serving.settings import Settings
from mldeploy_serving.supervisor.child import Child
from mldeploy_serving.supervisor.ending import FAILED_TO_START, Ending, told
from mldeploy_serving.supervisor.memory_limit import OUT_OF_MEMORY, MemoryLimit
from mldeploy_serving.supervisor.spawning import Spawned

# a worker that is told to end does it in these times, unless a C call keeps the interpreter
INIT_GRACE_S = 1.0
ABORT_GRACE_S = 1.0
# one that has died without having done anything is not replaced faster than this
RESTART_S = 1.0
_REAP_S = 0.01
# What a worker is sent before it asks for more, so that it need not wait for the next one: only while calls are
# short, as nobody else can have what it was sent, and to the only worker there is.
_AHEAD = 8
_SHORT_MS = 1.0


class Pool:
    """The workers of a service; all of it runs in the HTTP loop.

    Args:
        settings: The service's.
        spawn: Starts a worker process.
        application: Where answers go.
        say: Writes a line to the log.
        init_timeout: Seconds that `init()` may take; 0 is for ever.
        reloads: A script that cannot be loaded does not end the service: it waits for `reload`.
        ended: Called when the service has to end: a worker could not start, or all have ended after `close`.
        limit: Tells of workers that are killed for memory.
    """

    def __init__(
        self,
        settings: Settings,
        spawn: Callable[[], Spawned],
        application: Application,
        say: Callable[[str], None],
        init_timeout: float,
        reloads: bool,
        ended: Callable[[Ending], None],
        limit: MemoryLimit,
    ) -> None:
        self.restarts = 0
        self.out_of_memory = ""
        self._spawn = spawn
        self._application = application
        self._say = say
        self._init_timeout = init_timeout
        self._reloads = reloads
        self._tell_end = ended
        self._wanted = settings.worker_count
        self._preload = settings.worker_preload
        self._timeout_s = settings.scoring_timeout_ms / 1000
        self._grace_s = settings.scoring_grace_ms / 1000
        self._worker_timeout_s = float(settings.worker_timeout)
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._children: list[Child] = []
        self._template: Child | None = None
        self._passed_on: deque[Child] = deque()  # what the template has not yet told to have forked
        self._connecting: set[asyncio.Task[Any]] = set()
        self._queue: deque[Request] = deque()
        self._watching = False
        self._closing = False

    @property
    def ready(self) -> bool:
        """Whether a worker could score now."""
        return any(child.ready for child in self._children)

    @property
    def queued(self) -> int:
        """How many requests wait for a worker."""
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        """How many have not been scored, those included."""
        return self.queued + sum(len(child.work) for child in self._children)

    def pids(self) -> set[int]:
        """The processes that are waited for here."""
        return {child.pid for child in self._everyone() if child.template is None}

    def start(self, first: Spawned) -> None:
        """Take on the first worker, which has been started, and start the others."""
        child = self._adopt(first)
        if self._preload:
            self._template = child
        else:
            self._children.append(child)
            self._fill()

    def close(self) -> None:
        """Let all workers end; what they have begun and what waits is not looked at any more."""
        self._closing = True
        for child in self._everyone():
            if child.ready or child is self._template:
                child.close()
            else:
                child.signal(signal.SIGKILL)
        self._tell_when_empty()

    def kill(self) -> None:
        """End all workers at once."""
        self._closing = True
        for child in self._everyone():
            child.signal(signal.SIGKILL)

    def _everyone(self) -> list[Child]:
        return [*self._children, *([self._template] if self._template else ())]

    def reload(self) -> None:
        """The script has changed: workers that have the old one end with what they work on, new ones are started."""
        self._say("The sources have changed: the script is loaded again")
        for child in self._children:
            child.retired = True
            self._set_unready(child)
            if not child.served:
                child.signal(signal.SIGKILL)
            elif not child.work:
                child.close()
        self._fill()

    # requests

    def submit(self, request: Request) -> None:
        """Have a request scored as soon as a worker is free."""
        self._queue.append(request)
        self._dispatch()
        if not self._watching and (self._timeout_s or self._worker_timeout_s):
            self._watching = True
            self._loop.call_later(min(each for each in (self._timeout_s, self._worker_timeout_s) if each), self._watch)

    def _dispatch(self) -> None:
        queue = self._queue
        while queue:
            if queue[0].answered:  # its client is gone
                queue.popleft()
                continue
            child = self._free()
            if child is None:
                return
            child.send(queue.popleft())

    def _free(self) -> Child | None:
        ahead = _AHEAD if self._wanted == 1 else 1
        for child in self._children:
            if child.ready and (not child.work or (len(child.work) < ahead and child.exec_ms < _SHORT_MS)):
                return child
        return None

    # time

    def _watch(self) -> None:
        """See who is late; come back when somebody next could be."""
        now = time.perf_counter()
        waits = [self._look_at(child, now - child.since) for child in self._children if child.work]
        limits = [each for each in (self._timeout_s, self._worker_timeout_s) if each]
        if waits or self._queue:
            self._loop.call_later(min([*waits, *limits]), self._watch)
        else:
            self._watching = False

    def _look_at(self, child: Child, elapsed: float) -> float:
        """Do what is due to a worker that has been at its request for so long; returns seconds to the next time."""
        due = []
        if self._timeout_s and elapsed >= self._timeout_s and not child.expired:
            self._expire(child)
        if child.expired:
            due.append((self._timeout_s + self._grace_s, f"run() did not come back after its timeout ({_s(elapsed)})"))
        elif self._timeout_s:
            due.append((self._timeout_s, ""))
        if self._worker_timeout_s:
            due.append((self._worker_timeout_s, f"run() has worked for {_s(elapsed)} (WORKER_TIMEOUT)"))
        for when, reason in due:
            if reason and elapsed >= when and not child.killed:
                self._replace(child, reason)
        return max(min((when - elapsed for when, _ in due if when > elapsed), default=ABORT_GRACE_S), 0.001)

    def _expire(self, child: Child) -> None:
        child.expired = True
        request = child.work[0]
        timeout_ms = round(self._timeout_s * 1000)
        self._say(f"{request.request_id.decode('latin-1')} Scoring timeout after {timeout_ms} ms")
        self._application.expire(request, timeout_ms)
        request.body = b""  # it may be large, and run() may take its time
        child.signal(signal.SIGALRM)

    def _replace(self, child: Child, reason: str) -> None:
        """End a worker that does not end by itself; `lost` does the rest."""
        self._say(f"Worker {child.pid} is replaced: {reason}")
        child.killed = reason
        self._set_unready(child)
        child.go_on()  # a client that does not read must not hide the channel's end
        child.signal(signal.SIGABRT)  # faulthandler, which it has on, writes where it is
        self._loop.call_later(ABORT_GRACE_S, child.signal, signal.SIGKILL)

    # what workers tell

    def received(self, child: Child, head: Head, body: bytes) -> None:
        """A frame has come from a worker."""
        kind = head[0]
        if kind == "answer":
            answer = _answer(head, body)
            child.exec_ms = answer.exec_ms or 0.0
            self._application.finish(self._advance(child), answer)
            self._dispatch()
        elif kind == "begin":
            self._application.begin(child.work[0], _answer(head, b""))
        elif kind == "chunk":
            self._application.send(child.work[0], body, child)
        elif kind in {"end", "broken"}:
            self._application.end(self._advance(child), complete=kind == "end")
            self._dispatch()
        elif kind == "done":
            self._advance(child)
            self._dispatch()
        else:
            self._hear(child, *head)

    def _advance(self, child: Child) -> Request:
        request = child.advance()
        if child.retired and not child.work:
            child.close()
        return request

    def _hear(self, child: Child, kind: str, *said: Any) -> None:
        """What a worker, or the template of workers, tells about itself."""
        if kind == "ready":
            self._set_ready(child, *said)
        elif kind == "reason":
            (child.reason,) = said
        elif kind == "template":
            child.ready = child.served = True
            self._fill()
        elif kind == "forked":
            self._passed_on.popleft().pid = said[0]
        elif kind == "unforked":
            self._passed_on.popleft().unforked = said[0]
        elif kind == "ended":
            for each in self._children:
                if each.pid == said[0]:
                    each.status = os.waitstatus_to_exitcode(said[1])

    def _set_ready(self, child: Child, pid: int, raw: bool, needs_headers: bool, documents: dict[str, bytes]) -> None:
        child.pid = pid
        child.ready = child.served = True
        child.needs_headers = needs_headers
        self._application.open(self, raw, documents)
        self._dispatch()

    def _set_unready(self, child: Child) -> None:
        child.ready = False
        self._application.available = self.ready

    # starting

    def _fill(self) -> None:
        """Start the workers that are missing, or the template that is to fork them."""
        if self._closing:
            return
        try:
            if not self._preload:
                while len(self._children) < self._wanted:
                    self._children.append(self._adopt(self._spawn()))
            elif self._template is None:
                self._template = self._adopt(self._spawn())
            elif self._template.ready:
                while len(self._children) < self._wanted:
                    self._have_forked(self._template)
        except OSError as error:  # no memory, too many processes or open files
            self._say(f"A worker cannot be started, which is tried again: {error}")
            self._loop.call_later(RESTART_S, self._fill)

    def _have_forked(self, template: Child) -> None:
        near, far = socket.socketpair()
        with far:
            template.pass_on(far)
        child = self._adopt(Spawned(0, near))
        child.template = template
        self._children.append(child)
        self._passed_on.append(child)

    def _adopt(self, spawned: Spawned) -> Child:
        child = Child(self, spawned.pid)
        connected = self._loop.create_task(self._loop.create_unix_connection(lambda: child, sock=spawned.end))
        self._connecting.add(connected)  # the loop itself keeps tasks only weakly
        connected.add_done_callback(self._connecting.discard)
        if self._init_timeout:
            self._loop.call_later(self._init_timeout, self._end_init, child)
        return child

    def _end_init(self, child: Child) -> None:
        if not child.served and not self._closing:
            child.signal(signal.SIGALRM)  # it says where it is, and ends
            self._loop.call_later(INIT_GRACE_S, self._abort_init, child)

    def _abort_init(self, child: Child) -> None:
        if not child.served and child.status is None:  # it may have been done at the last moment
            child.reason = f"init() did not finish in {self._init_timeout:g} s, and held the interpreter"
            child.signal(signal.SIGABRT)
            self._loop.call_later(ABORT_GRACE_S, child.signal, signal.SIGKILL)

    # ending

    def lost(self, child: Child) -> None:
        """A worker's channel has ended; its process has, too, or is about to."""
        self._set_unready(child)
        self._loop.call_later(ABORT_GRACE_S, child.signal, signal.SIGKILL)
        self._bury(child)

    def _bury(self, child: Child) -> None:
        if child.status is None:
            child.status = self._status(child)
        if child.status is None:
            self._loop.call_later(_REAP_S, self._bury, child)
        else:
            self._judge(child, child.status)

    def _status(self, child: Child) -> int | None:
        """How it ended; None while it has not. Workers that the template has forked are waited for by that one."""
        if child.template is None:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            return os.waitstatus_to_exitcode(status) if pid else None
        # where the template has gone first, its workers went with it
        return -signal.SIGKILL if child.unforked or child.template.status is not None else None

    def _judge(self, child: Child, status: int) -> None:
        """A worker has ended: what it worked on is answered, and it is replaced unless that would not help."""
        if child is self._template:
            self._template = None
            self._passed_on.clear()
        else:
            self._children.remove(child)
        reason = child.killed or child.unforked or child.reason or self._limit.blamed_for(status) or told(status)
        self._answer_for(child, reason)
        if self._closing:
            self._tell_when_empty()
        elif child.retired:
            self._fill()
        elif not child.served and self._reloads:
            self._application.shut(f"The script cannot be served: {reason}", self._queue)
            self._queue.clear()
        elif child.served or child.unforked or (child.template and child.template.status is not None):
            self._replace_ended(child, reason)
        else:
            self._closing = True
            code = FAILED_TO_START if status in {0, -signal.SIGABRT, -signal.SIGALRM} else status
            self._tell_end(Ending(code, reason, -status if status < 0 else None))

    def _replace_ended(self, child: Child, reason: str) -> None:
        self.restarts += 1
        if reason.startswith(OUT_OF_MEMORY):
            self.out_of_memory = reason
        self._say(f"Worker {child.pid} has ended ({reason}); another one is started")
        did_nothing = child.exec_ms == float("inf")
        self._loop.call_later(RESTART_S if did_nothing else 0, self._fill)

    def _answer_for(self, child: Child, reason: str) -> None:
        """The request that it had begun gets an error; those that it was sent ahead are done by another."""
        if child.work:
            self._application.fail(child.work.popleft(), reason)
        self._queue.extendleft(reversed(child.work))
        child.work.clear()
        self._dispatch()

    def _tell_when_empty(self) -> None:
        if not self._everyone():
            self._tell_end(Ending(0, ""))


def _answer(head: Head, body: bytes) -> Answer:
    _, status, content_type, failed, exec_ms, headers, with_ids = head
    return Answer(status, body, content_type, failed=failed, exec_ms=exec_ms, headers=headers, with_ids=with_ids)


def _s(seconds: float) -> str:
    return f"{seconds:.1f} s"
