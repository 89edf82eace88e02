"""Writing to a socket at once."""

from __future__ import annotations

import asyncio
import os


def write_at_once(transport: asyncio.Transport, descriptor: int, data: bytes) -> None:
    """Write now; a transport would do it after all else that this turn of the loop has to do.

    Args:
        transport: The socket's; it writes what does not go at once.
        descriptor: The socket's file descriptor.
        data: What is written.
    """
    if transport.get_write_buffer_size() == 0:
        try:
            written = os.write(descriptor, data)
        except OSError:  # it is full, or the other side is gone, which the transport will notice
            written = 0
        if written == len(data):
            return
        data = data[written:]
    transport.write(data)
