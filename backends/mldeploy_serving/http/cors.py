"""Cross-origin headers, as `AML_CORS_ORIGINS` made the official server send them (flask-cors 6, observed)."""

from __future__ import annotations

from collections.abc import Callable

from mldeploy_serving.messages import Request

_METHODS = (b"GET", b"POST")


class Cors:
    """Adds the headers that let a browser of a listed origin read an answer.

    Args:
        origins: The origins, sorted; `*` is any. None at all adds nothing.
    """

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = tuple(origin.encode("latin-1", "replace") for origin in origins)

    def add(self, request: Request, add: Callable[[bytes], None]) -> None:
        """Add the headers for `request` by `add`, which takes header lines."""
        if not self._origins:
            return
        allowed = self._allowed(request.fields.get(b"origin"))
        if allowed is None:
            return
        add(b"Access-Control-Allow-Origin: %s\r\n" % allowed)
        asked = request.fields.get(b"access-control-request-method", b"")
        if request.method == b"OPTIONS" and asked.upper() in _METHODS:
            headers = request.fields.get(b"access-control-request-headers")
            if headers:
                add(b"Access-Control-Allow-Headers: %s\r\n" % headers)
            add(b"Access-Control-Allow-Methods: GET, POST\r\n")
        if len(self._origins) > 1:
            add(b"Vary: Origin\r\n")

    def _allowed(self, origin: bytes | None) -> bytes | None:
        if b"*" in self._origins:
            return b"*"
        if origin is None:
            return self._origins[0]
        return origin if origin in self._origins else None
