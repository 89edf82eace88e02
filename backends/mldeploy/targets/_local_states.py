"""What the engines see, in Azure ML's words: the error objects of local services (C §5.2, observed)."""

from __future__ import annotations

from typing import Any

from mldeploy.targets._protocol import Description, State

_HTTP_OK = 200
_FAILED_TO_START = 3  # the server's exit code when script or init() fails (C §4.1)


def description(port: int | None, alive: bool, health: int | None, error: dict[str, Any] | None) -> Description:
    """What is seen of a service.

    Args:
        port: Its loopback port; None where it cannot be reached from here.
        alive: Whether it has processes.
        health: The status of `GET /`.
        error: v1's error object.
    """
    state: State = "Failed" if not alive else "Healthy" if health == _HTTP_OK else "Unhealthy"
    return described(port, state, error)


def described(port: int | None, state: State, error: dict[str, Any] | None) -> Description:
    """A state with the URIs of a port."""
    if port is None:
        return Description(state, None, None, error)
    base = f"http://localhost:{port}"
    return Description(state, f"{base}/score", f"{base}/swagger.json", error)


def ended(exit_code: int | None, reason: str, code: str = "ServiceEnded", **more: Any) -> dict[str, Any]:
    """The error of a service that has ended.

    Args:
        exit_code: The worker's, or minus its signal.
        reason: In one line.
        code: What kind of end; a failed `init()` has a word of v1's.
        more: Further keys.
    """
    in_init = exit_code == _FAILED_TO_START
    message = (
        "Your container application crashed. This may be caused by errors in your scoring file's init() function."
        if in_init
        else f"The service ended ({reason})."
    )
    details = {
        "code": "CrashLoopBackOff" if in_init else code,
        "message": f"Error in entry script, {reason}, please run print(service.get_logs()) to get details."
        if in_init
        else reason,
    }
    return error("LocalDeploymentFailed", message, details, exitCode=exit_code, **more)


def elsewhere(host: str) -> Description:
    """A service of another machine."""
    message = f"The service runs on the machine {host}, which cannot be looked at from here."
    return Description("Unhealthy", None, None, error("LocalDeploymentElsewhere", message))


def error(code: str, message: str, *details: dict[str, Any], **more: Any) -> dict[str, Any]:
    """v1's error object."""
    return {"code": code, "statusCode": 400, "message": message, **more, "details": list(details)}
