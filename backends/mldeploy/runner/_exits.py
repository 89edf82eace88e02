"""The exit codes: one for each kind of outcome, and the one place that says which error is which."""

from __future__ import annotations

from mldeploy.errors import (
    AzureMLException,
    ComputeTargetException,
    EngineException,
    EnvironmentException,
    ModelNotFoundException,
    UserErrorException,
    WebserviceException,
    WorkspaceException,
)

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
CONFLICT = 4
ENVIRONMENT = 5
WORKSPACE = 6
LATER = 7
ENGINE = 8
UNEXPECTED = 70
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

MEANINGS = {
    OK: "done",
    FAILED: "the service failed to start, or answered with an error",
    USAGE: "something typed, or in a file given, has to be changed",
    NOT_FOUND: "no such model or service",
    CONFLICT: "the name is taken, or another operation is in progress",
    ENVIRONMENT: "the environment is unknown, or cannot be resolved or installed",
    WORKSPACE: "the workspace is not there, or cannot be read or written",
    LATER: "this version does not do that yet",
    ENGINE: "no Docker engine answers, or it refuses",
    UNEXPECTED: "a fault of mldeploy's own",
    INTERRUPTED: "Ctrl-C",
    BROKEN_PIPE: "what reads the output has gone",
    TERMINATED: "SIGTERM",
}

# the first class that fits counts, so children stand before their parents
_BY_CLASS: tuple[tuple[type[AzureMLException], int], ...] = (
    (EnvironmentException, ENVIRONMENT),
    (UserErrorException, USAGE),
    (ModelNotFoundException, NOT_FOUND),
    (WorkspaceException, WORKSPACE),
    (ComputeTargetException, LATER),
    (EngineException, ENGINE),
)
_BY_STATUS = {None: USAGE, 404: NOT_FOUND, 409: CONFLICT}  # no status: it never came to a service


def code_for(error: AzureMLException) -> int:
    """The exit code of an error.

    Args:
        error: What ended the command.

    Examples:
        >>> code_for(WebserviceException("another operation is in progress", 409))
        4
    """
    if isinstance(error, WebserviceException):
        return _BY_STATUS.get(error.status_code, FAILED)
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), FAILED)
