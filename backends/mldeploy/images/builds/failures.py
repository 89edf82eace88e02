"""What the last lines of a build mean: which package, and what to type next."""

from __future__ import annotations

import re
from dataclasses import dataclass

OFFLINE = "leave out --offline once: what this needs from the network is then kept"

_WHEEL = (
    "a package with a wheel for this Python needs no build; what it builds against (headers, libraries) comes by apt"
)
_APT = "check the name, and that `apt-get update` is in the same RUN"
_PIP = "check name and version, and that there is one for the image's Python"
_CONDA = "check the name, and that the channel that has it is among the channels"
_CERTIFICATE = (
    "SSL_CERT_FILE names the bundle with this network's own certificate authority: it is then trusted while an image "
    "is built, and is not in the image"
)
_NETWORK = "the build's container reaches no such host: check the network, and proxies in Docker's config.json"
_DISK = "the engine's disk is full: `docker system df` shows by what; `mldeploy images prune` removes what is ours"
_BUILDKIT = "Docker's classic builder builds this: no RUN --mount, no here-documents; write the step without them"
_CONTEXT = "an environment's Dockerfile has no files beside it: ADD a URL, or put files into sourceDirectory"


@dataclass(frozen=True)
class Cause:
    """Why a build failed, where its output tells.

    Args:
        what: In one clause; it names the package.
        hint: What to type or change next.
    """

    what: str
    hint: str

    @property
    def is_untrusted(self) -> bool:
        """A server's certificate was not trusted."""
        return self.hint == _CERTIFICATE

    @property
    def is_unreached(self) -> bool:
        """A host could not be reached."""
        return self.hint == _NETWORK


_UNTRUSTED = (
    r"CERTIFICATE_VERIFY_FAILED|certificate verif\w+ failed|self.signed certificate|unable to get local issuer|"
    r"certificate is NOT trusted|certificate signed by unknown authority"
)
_UNREACHED = (
    r"Temporary failure (?:in name resolution|resolving)|Could not resolve|Name or service not known|"
    r"Network is unreachable|no such host|bad address"
)
_NO_COMPILER = r"error: command '(?P<name>[^']*(?:cc|g\+\+|cargo|rustc|gfortran)[^']*)' failed: No such file"

# The first that is found counts: what pip says of a certificate ends in "No matching distribution" too.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (r"[Nn]o space left on device", "no space is left on the engine's disk", _DISK),
    (_UNTRUSTED, "a server's certificate is not trusted in the image", _CERTIFICATE),
    (_UNREACHED, "a host cannot be reached", _NETWORK),
    (r"(?i)buildkit", "it needs BuildKit", _BUILDKIT),
    (r"(?:COPY|ADD) failed: [^\n]*stat (?P<name>[^\s:]+)", "there is no file {name} to copy", _CONTEXT),
    (r"Unable to locate package (?P<name>\S+)", "apt knows no package {name}", _APT),
    (r"Package '?(?P<name>[^\s']+)'? has no installation candidate", "apt has no package {name} to install", _APT),
    (r"Version '(?P<version>[^']+)' for '(?P<name>[^']+)' was not", "apt has no version {version} of {name}", _APT),
    (r"PackagesNotFoundError:[^-]*?-\s+(?P<name>\S+)", "conda knows no package {name}", _CONDA),
    (r"nothing provides (?:requested )?(?P<name>[\w.-]+)", "conda knows no package {name}", _CONDA),
    (r"Failed building wheel for (?P<name>[\w.-]+)", "{name} does not build", _WHEEL),
    (r"Failed to (?:download and )?build `(?P<name>[\w.-]+)(?:==|@| @)", "{name} does not build", _WHEEL),
    (r"No matching distribution found for (?P<name>[^\s(]+)", "pip finds no {name}", _PIP),
    (r"[Bb]ecause (?P<name>[\w.-]+) was not found in the (?:package r|provided p)", "uv finds no {name}", _PIP),
    (r"Could not find a version that satisfies the requirement (?P<name>[^\s(]+)", "pip finds no {name}", _PIP),
    (r"fatal error: (?P<name>\S+\.h): No such file", "the C header {name} is missing", _WHEEL),
    (_NO_COMPILER, "there is no {name}", _WHEEL),
    (r"ModuleNotFoundError: No module named '(?P<name>[^']+)'", "there is no Python module {name}", ""),
    (r"(?:sh|bash)(?:: line)?(?:: \d+)?: (?P<name>\S+): (?:command )?not found", "there is no program {name}", ""),
)


def cause(output: str) -> Cause | None:
    """Find what a failed build stumbled over.

    Args:
        output: Its last lines.

    Returns:
        The cause; None where the output has nothing that is known.

    Examples:
        >>> cause("E: Unable to locate package libfoo").what
        'apt knows no package libfoo'
    """
    for pattern, what, hint in _CAUSES:
        if match := re.search(pattern, output):
            return Cause(what.format(**match.groupdict()), hint)
    return None
