"""`AMLRequest` and `rawhttp`, for entry scripts that want the HTTP request itself.

The official server hands out Flask's request. Its attributes (`method`, `args`, `data`, `form`, `files`,
`get_json()` …) are those of werkzeug's `Request`, which Flask's is made of.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from werkzeug.wrappers import Request as WerkzeugRequest

from mldeploy_serving.contract.arguments import header_names
from mldeploy_serving.messages import Request

_SECURE = ((b"x-forwarded-proto", b"https"), (b"x-forwarded-protocol", b"ssl"), (b"x-forwarded-ssl", b"on"))
_BELIEVED = {"127.0.0.1", "::1"}
_Function = TypeVar("_Function", bound=Callable[..., Any])

raw_requested = False


def rawhttp(func: _Function) -> _Function:
    """Have `run()` called with the HTTP request (`AMLRequest`) instead of its body."""
    global raw_requested  # noqa: PLW0603 - in the contract, too, its use anywhere counts
    raw_requested = True
    return func


class AMLRequest(WerkzeugRequest):
    """The HTTP request that a `@rawhttp` script is called with."""

    @classmethod
    def of(cls, request: Request) -> AMLRequest:
        """Made of what the HTTP loop has read."""
        return cls(_environ(request))


def _scheme(request: Request) -> str:
    """What a proxy on this machine says that its client spoke; gunicorn believes only those, too."""
    secure = any(request.fields.get(name) == value for name, value in _SECURE)
    return "https" if secure and request.peer in _BELIEVED else "http"


def _environ(request: Request) -> dict[str, Any]:
    """A WSGI environment (PEP 3333)."""
    target = request.path + (b"?" + request.query if request.query else b"")
    host, _, port = request.fields.get(b"host", b"localhost").decode("latin-1").partition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method.decode(),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query.decode("latin-1"),
        "RAW_URI": target.decode("latin-1"),
        "REQUEST_URI": target.decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": f"HTTP/{request.http_version}",
        "REMOTE_ADDR": request.peer,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": _scheme(request),
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.input_terminated": True,  # the body is all there, chunked or not
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in header_names(request).items():
        key = name.upper().replace("-", "_")
        environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value
    return environ
