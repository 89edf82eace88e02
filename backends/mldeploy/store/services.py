"""The services of a workspace, as recorded: what was asked for, and who is at work on it.

What a service is doing right now is not here; it is seen from the engine.
"""

from __future__ import annotations

import builtins
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import delete, insert, select, update

from mldeploy.errors import WebserviceException
from mldeploy.store.database import lock_table
from mldeploy.store.owners import alive
from mldeploy.store.tables import services

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, RowMapping

    from mldeploy.store.database import Database

Operation = Literal["Running", "Succeeded", "Failed"]


@dataclass(frozen=True)
class ServiceRecord:
    """One service.

    Args:
        name: Unique in the workspace.
        compute_type: v1's word, such as `Local`.
        engine: What runs it, such as `process`.
        created_time: UTC.
        updated_time: UTC; when this record was last written.
        package_digest: sha256 of the package, hex.
        operation: How its last deployment or update stands.
        operation_id: A UUID.
        description: The user's text.
        tags: May change.
        properties: Only added to.
        model_ids: `name:version` of each registered model in it.
        inference_config: As JSON.
        deployment_config: As JSON.
        serving: The serving settings as JSON.
        owner: The process that prepares the operation (`store.owners.this_process`), with the `model_ids` it
            works with; None from the moment the engine runs it.
        error: The error object of v1's services, if the operation failed.
        handle: What the engine needs to find it again.
    """

    name: str
    compute_type: str
    engine: str
    created_time: datetime
    updated_time: datetime
    package_digest: str
    operation: Operation
    operation_id: str
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    model_ids: tuple[str, ...] = ()
    inference_config: dict[str, Any] = field(default_factory=dict)
    deployment_config: dict[str, Any] = field(default_factory=dict)
    serving: dict[str, Any] = field(default_factory=dict)
    owner: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    handle: dict[str, Any] = field(default_factory=dict)


class ServiceTable:
    """The services of one workspace.

    Args:
        database: The registry.
        workspace_id: The workspace's row.
    """

    def __init__(self, database: Database, workspace_id: int) -> None:
        self._database = database
        self._workspace_id = workspace_id

    def begin(self, record: ServiceRecord, overwrite: bool) -> ServiceRecord | None:
        """Begin an operation on a service: only one process can, whoever asks at the same time.

        A service that is there stays recorded as it is until the new one is put in its place, so that nobody's
        death on the way can lose a running one or tell of what does not run. An operation whose process has died
        is taken over.

        Args:
            record: What to write where there is no service yet, with operation `Running` and the owner that
                runs it.
            overwrite: Whether a service of that name may be replaced.

        Returns:
            The record as it was before; None where there was none.

        Raises:
            WebserviceException: With status 409: another operation is in progress, or the service exists and
                may not be overwritten.
        """
        with self._database.write() as connection:
            lock_table(connection, "services", "SHARE ROW EXCLUSIVE")
            found = self._find(connection, record.name)
            if found is None:
                connection.execute(insert(services).values(self._row(record)))
                return None
            refuse_busy(found)
            _refuse_existing(found, overwrite)
            claim = {key: getattr(record, key) for key in ("operation", "operation_id", "owner", "updated_time")}
            self._write(connection, replace(found, **claim))
            return found

    def release(self, name: str, operation_id: str) -> None:
        """Give up an operation: the service is what it was, and is gone where there was none.

        Nothing happens where the operation is not that one.
        """
        with self._database.write() as connection:
            lock_table(connection, "services", "SHARE ROW EXCLUSIVE")
            found = self._find(connection, name)
            if found is None or found.operation_id != operation_id:
                return
            if found.handle:
                self._write(connection, replace(found, owner=None))
            else:
                connection.execute(delete(services).where(*self._is(name)))

    def change(self, name: str, change: Callable[[ServiceRecord], ServiceRecord]) -> ServiceRecord | None:
        """Change the record of a service; nobody else writes it between reading and writing.

        Args:
            name: The service.
            change: Is given the record and gives the new one.

        Returns:
            The new record; None if there is no such service.
        """
        with self._database.write() as connection:
            lock_table(connection, "services", "SHARE ROW EXCLUSIVE")
            found = self._find(connection, name)
            if found is None:
                return None
            changed = change(found)
            self._write(connection, changed)
            return changed

    def get(self, name: str) -> ServiceRecord | None:
        """The record of a service, None if there is none."""
        with self._database.read() as connection:
            return self._find(connection, name)

    def list(self) -> builtins.list[ServiceRecord]:
        """All services, by name."""
        query = select(services).where(services.c.workspace_id == self._workspace_id).order_by(services.c.name)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query).mappings()]

    def delete(self, name: str) -> None:
        """Forget a service; nothing happens if there is none."""
        with self._database.write() as connection:
            connection.execute(delete(services).where(*self._is(name)))

    def _is(self, name: str) -> tuple[Any, ...]:
        return services.c.workspace_id == self._workspace_id, services.c.name == name

    def _find(self, connection: Connection, name: str) -> ServiceRecord | None:
        row = connection.execute(select(services).where(*self._is(name))).mappings().first()
        return _record(row) if row else None

    def _write(self, connection: Connection, record: ServiceRecord) -> None:
        connection.execute(update(services).where(*self._is(record.name)).values(self._row(record)))

    def _row(self, record: ServiceRecord) -> dict[str, Any]:
        return {**asdict(record), "workspace_id": self._workspace_id}


def busy(record: ServiceRecord) -> bool:
    """Whether a living process is at work on the service."""
    return record.operation == "Running" and alive(record.owner, record.updated_time)


def refuse_busy(record: ServiceRecord) -> None:
    """See that nobody is at work on a service.

    Raises:
        WebserviceException: Somebody is (409).
    """
    if busy(record):
        raise WebserviceException(
            f"service {record.name} cannot be changed: another operation is in progress",
            409,
            where=record.name,
            reason=f"process {record.owner and record.owner['pid']}, since {record.updated_time:%H:%M:%S} UTC",
            hint="wait for it to end, then try again",
        )


def _refuse_existing(found: ServiceRecord, overwrite: bool) -> None:
    interrupted = found.owner is not None and not found.handle
    if not interrupted and not overwrite:
        raise WebserviceException(
            f"there is already a service with name {found.name} in this workspace",
            409,
            where=found.name,
            hint=f"--overwrite (overwrite=True) replaces it; `mldeploy service delete {found.name}` removes it",
        )


def _record(row: RowMapping) -> ServiceRecord:
    values = {item.name: row[item.name] for item in fields(ServiceRecord)}
    return ServiceRecord(**{**values, "model_ids": tuple(values["model_ids"])})
