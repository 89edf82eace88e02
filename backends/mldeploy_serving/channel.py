"""Frames between the supervisor and a worker, over a socket pair: a tuple of plain values, and a body of bytes.

The tuple is marshalled: both ends are the same Python on the same machine, and nobody else can write there.
"""

from __future__ import annotations

import errno
import marshal
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any, NoReturn

_SIZES = struct.Struct("=IQ")
_CHUNK = 65536
_LARGE = 1 << 20

Head = tuple[Any, ...]


def pack(head: Head, body_size: int) -> bytes:
    """What goes before a body."""
    packed = marshal.dumps(head)
    return _SIZES.pack(len(packed), body_size) + packed


class Unpacker:
    """Makes frames of the bytes that come.

    Examples:
        >>> unpacker = Unpacker()
        >>> frame = pack(("answer", 200), 2) + b"ok"
        >>> unpacker.feed(frame[:10]), unpacker.feed(frame[10:])
        ([], [(('answer', 200), b'ok')])
    """

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> list[tuple[Head, bytes]]:
        """The frames that are complete with `data`."""
        received = self._received
        if received:
            received += data
            if len(received) < self.needed:
                return []
            data = bytes(received)
            received.clear()
        frames = []
        at, size = 0, len(data)
        while size - at >= _SIZES.size:
            head_size, body_size = _SIZES.unpack_from(data, at)
            head_end = at + _SIZES.size + head_size
            end = head_end + body_size
            if size < end:
                break
            head = marshal.loads(data[at + _SIZES.size : head_end])  # noqa: S302 - it is from our own other end
            frames.append((head, data[head_end:end]))
            at = end
        if at < size:
            received += data[at:]
        return frames

    @property
    def begun(self) -> bool:
        """Whether a part of a frame has come."""
        return bool(self._received)

    @property
    def needed(self) -> int:
        """How many bytes the frame that has begun has in all; at least so many as its sizes take."""
        if len(self._received) < _SIZES.size:
            return _SIZES.size
        head_size, body_size = _SIZES.unpack_from(self._received)
        return int(_SIZES.size + head_size + body_size)


class Channel:
    """The worker's end, which waits.

    Args:
        end: Its socket of the pair.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._unpacker = Unpacker()

    def __iter__(self) -> Iterator[tuple[Head, bytes]]:
        """The frames, until the supervisor closes its end or is gone."""
        unpacker = self._unpacker
        while True:
            size = min(max(unpacker.needed, _CHUNK), _LARGE) if unpacker.begun else _CHUNK
            try:
                data = self.socket.recv(size)
            except ConnectionResetError:
                return
            except OSError as error:
                _end(error)
            if not data:
                return
            yield from unpacker.feed(data)

    def send(self, head: Head, body: bytes = b"") -> None:
        """Send a frame; the process ends where nobody is there to read it."""
        prefix = pack(head, len(body))
        try:
            if len(body) < _CHUNK:
                self.socket.sendall(prefix + body)
            else:
                self.socket.sendall(prefix)
                self.socket.sendall(body)
        except OSError as error:
            _end(error)


def _end(error: OSError) -> NoReturn:
    if error.errno in {errno.EBADF, errno.ENOTSOCK}:
        os.write(2, b"The entry script has closed a file descriptor that the service needs (os.closerange?)\n")
    os._exit(1)
