"""What every service has, wherever it runs."""

from __future__ import annotations

import builtins
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mldeploy import deployment
from mldeploy.errors import EngineException, WebserviceException
from mldeploy.events import Report, StateChanged, silent
from mldeploy.store.drafts import Changes
from mldeploy.store.filters import Filter, has_all
from mldeploy.store.services import ServiceRecord, refuse_busy
from mldeploy.targets import target_for
from mldeploy.targets._protocol import UNREACHABLE, Description

if TYPE_CHECKING:
    import requests

    from mldeploy.environment import Environment
    from mldeploy.model import Model
    from mldeploy.workspace import Workspace

_POLL_S = (0.02, 0.25)  # first and longest pause between two looks at a starting service
_LOG_LINES_IN_ERRORS = 20
_OK = 200


class Webservice:
    """A deployed service.

    `Webservice(workspace, name)` gives the object of the right class, as v1's did.

    Args:
        workspace: Where it is recorded.
        name: Its name.

    Raises:
        WebserviceException: Nothing is deployed under that name (404).
    """

    workspace: Workspace
    name: str

    def __new__(cls, workspace: Workspace, name: str, **_: Any) -> Webservice:
        """Choose the class by what is recorded."""
        record = workspace.store.services.get(name)
        if record is None:
            raise deployment.not_found(workspace, name)
        return super().__new__(_class(record.compute_type) if cls is Webservice else cls)

    @staticmethod
    def _of(workspace: Workspace, record: ServiceRecord) -> Webservice:
        """The service of a record that was just read."""
        service: Webservice = object.__new__(_class(record.compute_type))
        Webservice.__init__(service, workspace, record.name)
        return service

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace = workspace
        self.name = name
        self._session: requests.Session | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(workspace={self.workspace.name!r}, name={self.name!r})"

    def _look(self) -> tuple[ServiceRecord, Description]:
        seen = deployment.settle(self.workspace, self.name)
        if seen is None:
            raise deployment.not_found(self.workspace, self.name)
        return seen

    @property
    def state(self) -> str:
        """Transitioning, Unhealthy, Unschedulable, Failed or Healthy, as the engine reports it now."""
        return self._look()[1].state

    @property
    def error(self) -> dict[str, Any] | None:
        """v1's error object of a Failed service: `code`, `statusCode`, `message`, `details`."""
        record, seen = self._look()
        return seen.error or record.error

    @property
    def scoring_uri(self) -> str | None:
        """Where to POST rows to."""
        return self._look()[1].scoring_uri

    @property
    def swagger_uri(self) -> str | None:
        """Where the service's OpenAPI document is."""
        return self._look()[1].swagger_uri

    @property
    def compute_type(self) -> str:
        """Where it runs: `Local`, `ACI`, `AKS`, …."""
        return self._look()[0].compute_type

    @property
    def description(self) -> str | None:
        """As given in the deployment configuration."""
        return self._look()[0].description

    @property
    def tags(self) -> dict[str, str]:
        """As given in the deployment configuration."""
        return dict(self._look()[0].tags)

    @property
    def properties(self) -> dict[str, str]:
        """As given in the deployment configuration."""
        return dict(self._look()[0].properties)

    @property
    def created_time(self) -> datetime:
        """When a service of this name was first deployed (UTC)."""
        return self._look()[0].created_time

    @property
    def updated_time(self) -> datetime:
        """When it was last deployed, updated or reloaded (UTC)."""
        return self._look()[0].updated_time

    @property
    def models(self) -> builtins.list[Model]:
        """The registered models it serves."""
        from mldeploy.model import Model

        return [Model(self.workspace, id=model_id) for model_id in self._look()[0].model_ids]

    @property
    def environment(self) -> Environment | None:
        """The environment it was deployed with; None where none was given."""
        from mldeploy.webservice._orders import recorded_order

        return recorded_order(self.workspace, self._look()[0]).inference_config.environment

    def serialize(self) -> dict[str, Any]:
        """The service as JSON values, under the keys v1's command line printed (C §5.1).

        `engine` and `serving` are ours: what runs it, and what was said of the scoring server's settings.
        """
        record, seen = self._look()
        return {
            "computeType": record.compute_type,
            "createdTime": record.created_time.isoformat(),
            "description": record.description,
            "engine": record.engine,
            "error": seen.error or record.error,
            "models": builtins.list(record.model_ids),
            "name": record.name,
            "operationId": record.operation_id,
            "packageDigest": record.package_digest,
            "properties": dict(record.properties),
            "scoringUri": seen.scoring_uri,
            "serving": {name: value for name, value in record.serving.items() if name != "timeout"},
            "state": seen.state,
            "swaggerUri": seen.swagger_uri,
            "tags": dict(record.tags),
            "updatedTime": record.updated_time.isoformat(),
        }

    def get_logs(self, num_lines: int = 5000, init: bool = False) -> str:
        """What the server and the script wrote last.

        Args:
            num_lines: How many lines, from the end.
            init: v1's init container; the local target has none, so it has no log.
        """
        record, _ = self._look()
        return "" if init or not record.handle else target_for(record.compute_type).logs(record.handle, num_lines)

    def wait_for_deployment(
        self, show_output: bool = False, timeout_sec: float | None = None, *, report: Report = silent
    ) -> None:
        """Wait until the service is Healthy.

        Args:
            show_output: Print how it goes, in v1's words.
            timeout_sec: Give up waiting after that many seconds; the service is left as it is. The deployment's
                own timeout ends a service whose `init()` does not come back.
            report: Told each new state.

        Raises:
            WebserviceException: The service Failed (its error and last log lines are in the message), or the
                wait timed out.
        """
        deadline = None if timeout_sec is None else time.monotonic() + timeout_sec

        def say(text: str) -> None:
            if show_output:
                sys.stdout.write(text)
                sys.stdout.flush()

        say("Running")
        pause, last = _POLL_S[0], ""
        while True:
            record, seen = self._look()
            if seen.state != last:
                last = seen.state
                report(StateChanged(self.name, last))
            if seen.state == "Healthy":
                say(f'\nSucceeded\n{record.compute_type} service creation operation finished, operation "Succeeded"\n')
                return
            if seen.state == "Failed":
                say("\nFailed\n")
                raise self._failed(record, seen)
            if seen.error and seen.error["code"] == UNREACHABLE:
                say("\n")
                raise WebserviceException(
                    f"Service {self.name} cannot be waited for",
                    where=f"service {self.name}",
                    reason=seen.error["message"],
                )
            if deadline is not None and time.monotonic() > deadline:
                say("\nTimedOut\n")
                raise WebserviceException(
                    f"Service {self.name} is still {seen.state} after {timeout_sec:g} s",
                    where=f"operation {record.operation_id}",
                    reason=self._last_lines(),
                    hint="wait longer, or look at .get_logs()",
                )
            say(".")
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL_S[1])

    def _failed(self, record: ServiceRecord, seen: Description) -> WebserviceException:
        return WebserviceException(
            "Service deployment polling reached non-successful terminal state, "
            f"current service state: {seen.state}\n"
            f"Operation ID: {record.operation_id}\n"
            "More information can be found using '.get_logs()'\n"
            f"Error:\n{json.dumps(seen.error or record.error, indent=2)}",
            status_code=400,
            where=f"service {self.name}",
            reason=self._last_lines(),
            hint=self._mend(record, seen),
        )

    def _last_lines(self) -> str:
        """The end of the log, for an error's reason; where the engine is gone, why there is none."""
        try:
            return self.get_logs(_LOG_LINES_IN_ERRORS).rstrip()
        except EngineException as failure:
            return failure.message

    def _mend(self, record: ServiceRecord, seen: Description) -> str:
        if "AZUREML_MODEL_DIR" in json.dumps(seen.error) and not record.model_ids:
            return "it was deployed without a model: models=[…], -m NAME:VERSION"
        return f"mldeploy service get-logs -n {self.name}"

    def update_deployment_state(self) -> None:
        """v1's way to refresh the object; here every attribute is looked up when it is read."""
        self._look()

    def run(self, input_data: Any) -> Any:
        """Score.

        Args:
            input_data: The request's body: text or bytes as they are, anything else as JSON.

        Returns:
            The answer's JSON value, or its bytes where it is not JSON.

        Raises:
            WebserviceException: The service cannot be reached, or answers with an error.
        """
        import requests

        body = input_data if isinstance(input_data, (str, bytes)) else json.dumps(input_data)
        if isinstance(body, str):
            body = body.encode()
        if self._session is None:
            self._session = requests.Session()
            self._session.trust_env = False  # no proxy between this machine and itself
        uri = self.scoring_uri
        try:
            answer = self._session.post(uri or "", data=body, headers={"Content-Type": "application/json"})
        except requests.RequestException as error:
            raise self._unreachable(error) from error
        if answer.status_code != _OK:
            raise WebserviceException(
                "Received bad response from service. More information can be found by calling `.get_logs()` on the "
                f"webservice object.\nResponse Code: {answer.status_code}\nHeaders: {dict(answer.headers)}\n"
                f"Content: {answer.content[:2000]!r}",
                status_code=answer.status_code,
                where=f"service {self.name}",
                hint=f"mldeploy service get-logs -n {self.name}",
            )
        try:
            return answer.json()
        except ValueError:
            return answer.content

    def _unreachable(self, error: Exception) -> WebserviceException:
        record, seen = self._look()
        return WebserviceException(
            f"Service {self.name} cannot be reached: it is {seen.state}",
            status_code=503,
            where=seen.scoring_uri or "",
            reason=("" if seen.state == "Failed" else f"{error}\n") + self._last_lines(),
            hint=self._mend(record, seen),
        )

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags, or change the values of those there; the service runs on."""
        self.relabel(tags=tags)

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Remove tags by key; those that are not there do not matter."""
        self.relabel(remove_tags=tags)

    def add_properties(self, properties: Mapping[str, str]) -> None:
        """Add properties.

        Raises:
            UserErrorException: One is there with another value: properties are only added to.
        """
        self.relabel(properties=properties)

    def relabel(
        self,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str | None = None,
        remove_tags: Sequence[str] = (),
    ) -> None:
        """Change what is written on the service, all at once; it runs on.

        Args:
            tags: Pairs to add or change.
            properties: Pairs to add.
            description: The new one; None keeps what is.
            remove_tags: Keys to remove, after that.

        Raises:
            UserErrorException: A property is there with another value.
            WebserviceException: The service was deleted (404), or somebody is at work on it (409).
        """
        labels = Changes(tags, remove_tags, properties)

        def change(record: ServiceRecord) -> ServiceRecord:
            refuse_busy(record)
            text = record.description if description is None else description
            new_tags, new_properties = labels.made(record.name, record.tags, record.properties)
            return replace(record, tags=new_tags, properties=new_properties, description=text)

        if self.workspace.store.services.change(self.name, change) is None:
            raise deployment.not_found(self.workspace, self.name)

    def delete(self) -> None:
        """Stop the service and forget it; returns when it is gone.

        Raises:
            WebserviceException: It was deleted before (404).
        """
        deployment.delete(self.workspace, self.name)

    def get_keys(self) -> tuple[str, str]:
        """The two keys, where the target has the capability `keys`."""
        raise self._without("get_keys")

    def regen_key(self, key: str, set_key: str | None = None) -> None:
        """A new key, where the target has the capability `keys`."""
        raise self._without("regen_key")

    def get_token(self) -> tuple[str, datetime]:
        """A token and its refresh time, where the target has the capability `tokens`."""
        raise self._without("get_token")

    def _without(self, method: str) -> NotImplementedError:
        return NotImplementedError(f"{method}() is not supported for {type(self).__name__}, as in v1")

    @staticmethod
    def list(
        workspace: Workspace,
        compute_type: str | None = None,
        model_name: str | None = None,
        model_id: str | None = None,
        tags: Filter | None = None,
        properties: Filter | None = None,
    ) -> builtins.list[Webservice]:
        """The services of a workspace, by name.

        Args:
            workspace: Where to look.
            compute_type: Only those of one place (`Local`, `ACI`, …; case does not matter).
            model_name: Only those that serve some version of this model.
            model_id: Only those that serve this `name:version`.
            tags: Only those with all of these, each `"key"` or `["key", "value"]`.
            properties: The same for properties.
        """
        return [
            Webservice._of(workspace, record)
            for record in workspace.store.services.list()
            if (compute_type is None or record.compute_type.lower() == compute_type.lower())
            and (model_id is None or model_id in record.model_ids)
            and (model_name is None or model_name in {known.rpartition(":")[0] for known in record.model_ids})
            and has_all(record.tags, tags)
            and has_all(record.properties, properties)
        ]


def _class(compute_type: str) -> type[Webservice]:
    from mldeploy.webservice._local import LocalWebservice

    return {"Local": LocalWebservice}[compute_type]
