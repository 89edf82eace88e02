"""Ports of this machine's loopback address: the only one that an engine serves on."""

from __future__ import annotations

import http.client
import socket

from mldeploy.errors import WebserviceException

LOOPBACK = "127.0.0.1"
_PATIENCE_S = 2.0
_OUT_OF_MEMORY = "x-mldeploy-out-of-memory"


def listen(port: int | None) -> socket.socket:
    """A socket that listens on a loopback port, to be handed to a server as `--fd`.

    Args:
        port: The port; None lets the system choose one.

    Raises:
        WebserviceException: The port is taken or not allowed.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port or 0))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise refused(port, error.strerror or str(error)) from error
    return listener


def refused(port: int | None, why: str) -> WebserviceException:
    """The error for a port that cannot be had, whichever engine wanted it."""
    return WebserviceException(
        f"port {port} cannot be listened on: {why}",
        where=f"{LOOPBACK}:{port}",
        hint="leave out 'port' and a free one is chosen, or end what listens there",
    )


def health(port: int) -> tuple[int | None, str]:
    """Ask a scoring server how it is.

    Returns:
        The status of `GET /`, None where nothing answers within two seconds; and what our server says there of a
        worker that was killed for want of memory and replaced, empty where none was.
    """
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status, answer.headers.get(_OUT_OF_MEMORY, "")
    except (OSError, http.client.HTTPException):
        return None, ""
    finally:
        connection.close()
