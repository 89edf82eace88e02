"""Why an image could not be pushed or pulled: the engine's words about a registry as an error that says what to do.

The words are those of Docker 20.10 to 28 and of Podman, as they come with an event of a push or a pull; they are
free text, so what is not known here is passed on as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mldeploy.errors import EngineException


@dataclass(frozen=True)
class _Cause:
    """What some words mean.

    Args:
        words: A pattern of the engine's words.
        meaning: Follows "cannot be pushed: " or "cannot be pulled: ".
        hint: What to type next; `{registry}` and `{reference}` are filled in.
    """

    words: str
    meaning: str
    hint: str


_CAUSES = (
    _Cause(
        r"x509:|tls: |certificate",
        "the registry's certificate is not one that the engine trusts",
        "give the engine the certificate of who signed it: /etc/docker/certs.d/{registry}/ca.crt",
    ),
    _Cause(
        r"server gave HTTP response to HTTPS client",
        "the registry speaks HTTP and the engine wants TLS",
        "give the registry a certificate, or name {registry} in `insecure-registries` of /etc/docker/daemon.json",
    ),
    _Cause(
        r"unauthorized|no basic auth credentials|authentication required|denied|\b40[13]\b|incorrect username",
        "the registry refuses {who}",
        "docker login {registry}, with an account that may do this",
    ),
    _Cause(r"toomanyrequests|\b429\b", "the registry has had too many requests", "wait, or docker login {registry}"),
    _Cause(
        r"connection refused|no route to host|network is unreachable",
        "nothing answers at the registry's address",
        "start the registry, or correct the address {registry}",
    ),
    _Cause(
        r"no such host|server misbehaving",
        "the registry's name is unknown",
        "check the network, or correct the address {registry}; an image also comes by docker load",
    ),
    _Cause(
        r"no space left on device|disk quota exceeded",
        "a disk is full",
        "make room on the disk of the engine, or of the registry",
    ),
    _Cause(
        r"manifest (?:for \S+ )?(?:not found|unknown|invalid)|manifest unknown|not found|does not exist",
        "it is not there",
        "see that {reference} is written as it was pushed",
    ),
    _Cause(
        r"i/o timeout|deadline exceeded|timed? ?out|Timeout exceeded",
        "the registry is too slow",
        "try again: what has arrived is not sent again",
    ),
    _Cause(
        r"EOF|connection reset|broken pipe|closed (?:network )?connection|server closed|connection was aborted",
        "the registry broke the connection off",
        "try again: what has arrived is not sent again",
    ),
    _Cause(
        r"missing or empty Content-Type header|invalid character|unsupported media type",
        "what answers there is no registry",
        "correct the address {registry}",
    ),
    _Cause(
        r"\b5\d\d\b|internal server error|blob upload (?:invalid|unknown)|unknown: unknown error",
        "the registry failed",
        "try again; the registry's own log says more",
    ),
)
_OTHER = _Cause("", "the engine gives its own reason", "`docker {verb} {reference}` shows the same")


def refusal(verb: str, reference: str, registry: str, words: str, who: str = "") -> EngineException:
    """The error for what an engine says of a registry.

    Args:
        verb: `push` or `pull`.
        reference: The image, as it is called there.
        registry: The host.
        words: The engine's; without credentials.
        who: The name that was given; empty where there was none.

    Examples:
        >>> words = 'Get "http://127.0.0.1:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused'
        >>> print(refusal("push", "127.0.0.1:5000/app:1", "127.0.0.1:5000", words))
        127.0.0.1:5000/app:1 cannot be pushed: nothing answers at the registry's address
          where: 127.0.0.1:5000
          why:   Get "http://127.0.0.1:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused
          next:  start the registry, or correct the address 127.0.0.1:5000
    """
    cause = next((cause for cause in _CAUSES if re.search(cause.words, words, re.IGNORECASE)), _OTHER)
    meaning = cause.meaning.format(who=f"'{who}' or the password" if who else "whoever does not say who they are")
    return EngineException(
        f"{reference} cannot be {verb}ed: {meaning}",
        where=registry,
        reason=words,
        hint=cause.hint.format(verb=verb, reference=reference, registry=registry),
    )
