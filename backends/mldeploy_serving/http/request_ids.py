"""Ids for requests that bring none: random UUIDs (RFC 9562, version 4)."""

from __future__ import annotations

import os

_AT_ONCE = 256
_VARIANTS = "89ab"


class RequestIds:
    """Makes ids; random bytes for many are fetched at once, as fetching costs more than using them.

    Examples:
        >>> import uuid
        >>> uuid.UUID(RequestIds().next().decode()).version
        4
    """

    def __init__(self) -> None:
        self._random: list[str] = []

    def next(self) -> bytes:
        """An id that was not there before."""
        if not self._random:
            digits = os.urandom(16 * _AT_ONCE).hex()
            self._random = [digits[at : at + 32] for at in range(0, len(digits), 32)]
        text = self._random.pop()
        variant = _VARIANTS[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}".encode()
