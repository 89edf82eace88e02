"""What can go wrong, under the names `azureml.exceptions` gave it.

Every error says what failed, where, why, and what to type next. The four parts are plain attributes, so
that the runner, the plugin and a notebook can each show them in their own way.

The hierarchy and the `message` attribute are `azureml.exceptions`' (azureml-core 1.61, observed); the other
three parts are ours.
"""

from __future__ import annotations


class AzureMLException(Exception):
    """The root of everything mldeploy raises on purpose.

    Args:
        message: What failed, in one sentence.
        where: The file, line, key, service or command it is about.
        reason: Why; may be several lines (a container's last log lines, say).
        hint: What to type or change next.

    Examples:
        >>> print(AzureMLException("port 8890 is taken", where="deploymentconfig.json", hint="leave out 'port'"))
        port 8890 is taken
          where: deploymentconfig.json
          next:  leave out 'port'
    """

    def __init__(self, message: str, *, where: str = "", reason: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.reason = reason
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message]
        for label, text in (("where: ", self.where), ("why:   ", self.reason), ("next:  ", self.hint)):
            if text:
                first, *rest = text.splitlines()
                lines += [f"  {label}{first}", *(f"         {line}" for line in rest)]
        return "\n".join(lines)


class UserErrorException(AzureMLException):
    """A value, file or combination that the caller has to change: nothing was started and nothing was lost."""


class ConfigException(UserErrorException):
    """A config file or a configuration argument breaks its contract; `where` has the file, line and key."""


class EnvironmentException(UserErrorException):
    """An environment cannot be resolved or installed; `reason` has the resolver's own words."""


class NeedsImage(EnvironmentException):
    """Only an image can satisfy this environment: a Dockerfile, a foreign base image, conda packages pip has not."""


class WorkspaceException(AzureMLException):
    """A workspace does not exist, cannot be read or written, or is of a newer version than this mldeploy."""


class ModelNotFoundException(AzureMLException):
    """No registered model has that name, version, id or tag."""


class ModelPathNotFoundException(UserErrorException):
    """The path given for a model does not exist, or leaves the folder it is in."""


class EngineException(AzureMLException):
    """No Docker engine can be reached, or it refuses; `hint` has what starts one."""


class ComputeTargetException(AzureMLException):
    """A compute target is unknown, or not built yet."""


class WebserviceException(AzureMLException):
    """A service could not be deployed, found, reached, updated or deleted.

    Args:
        message: What failed.
        status_code: The HTTP status of the answer, or the one v1's service gave for this case (404 unknown,
            409 conflict); None where there is none.
        where: The service.
        reason: Its state and last log lines.
        hint: What to type next.
    """

    def __init__(
        self,
        message: str,
        status_code: int | None = None,
        *,
        where: str = "",
        reason: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, where=where, reason=reason, hint=hint)
        self.status_code = status_code
