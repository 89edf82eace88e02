"""Cross-origin headers, as `AML_CORS_ORIGINS` made the official server send them (flask-cors 6, observed)."""

from __future__ import annotations

import re
from collections.abc import Callable

from mldeploy_serving.messages import Request
from mldeploy_serving.settings import StartError

_ANY = "*"
_OF_PATTERNS = frozenset("*\\]?$^[]()")  # an origin with one of these is a regular expression
_METHODS = (b"GET", b"POST")


class Cors:
    """Adds the headers that let a browser of a listed origin read an answer.

    Args:
        origins: Origins, or regular expressions that an origin has to begin with; `*` is any. None at all adds nothing.

    Raises:
        StartError: A regular expression is none.
    """

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = _ANY in origins
        self._literals = sorted(origin for origin in origins if _OF_PATTERNS.isdisjoint(origin))
        self._patterns = [_pattern(origin) for origin in origins if not _OF_PATTERNS.isdisjoint(origin)]
        self._varies = bool(self._patterns) or len(self._literals) > 1

    def add(self, request: Request, add: Callable[[bytes], None]) -> None:
        """Add the headers for `request` by `add`, which takes header lines."""
        if not self._literals and not self._patterns:
            return
        fields = request.fields
        allowed = self._allowed(fields.get(b"origin", b"").decode("latin-1"))
        if allowed is None:
            return
        add(b"Access-Control-Allow-Origin: %s\r\n" % allowed.encode("latin-1", "replace"))
        if fields.get(b"access-control-request-private-network") == b"true":
            add(b"Access-Control-Allow-Private-Network: false\r\n")
        if request.method == b"OPTIONS" and fields.get(b"access-control-request-method", b"").upper() in _METHODS:
            headers = fields.get(b"access-control-request-headers")
            if headers:
                listed = b", ".join(sorted(each.strip() for each in headers.split(b",")))
                add(b"Access-Control-Allow-Headers: %s\r\n" % listed)
            add(b"Access-Control-Allow-Methods: GET, POST\r\n")
        if self._varies and allowed != _ANY:
            add(b"Vary: Origin\r\n")

    def _allowed(self, origin: str) -> str | None:
        if not origin:
            return _ANY if self._any else next(iter(self._literals), None)
        folded = origin.casefold()
        if any(folded == each.casefold() for each in self._literals) or any(
            each.match(origin) for each in self._patterns
        ):
            return origin
        return None


def _pattern(origin: str) -> re.Pattern[str]:
    try:
        return re.compile(".*" if origin == _ANY else origin, re.IGNORECASE)
    except re.error as error:
        raise StartError(
            f"{origin!r} in AML_CORS_ORIGINS is neither an origin nor a regular expression: {error}"
        ) from None
