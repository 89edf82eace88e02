"""The models of a workspace: their rows, and the bytes that belong to them."""

from __future__ import annotations

import builtins
import contextlib
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from mldeploy.errors import UserErrorException, WorkspaceException
from mldeploy.events import Notice, Progress, Report, silent
from mldeploy.store.database import lock_table
from mldeploy.store.files import Content, Files, Source, Staging, Vanished, total
from mldeploy.store.tables import model_files, models, services
from mldeploy.store.versions import next_version

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from mldeploy.store.database import Database

# Bytes can only be swept between storing and keeping by a `gc` at that very moment.
_TRIES = 5


@dataclass(frozen=True)
class ModelFile:
    """A file of a model.

    Args:
        path: As found below `azureml-models/<name>/<version>/`, with `/`.
        digest: BLAKE3 of its bytes, hex.
        size: Bytes.
    """

    path: str
    digest: str
    size: int


@dataclass(frozen=True)
class ModelRecord:
    """One version of a model.

    Args:
        name: Obeys v1's rule.
        version: Given by the registry; 0 before that.
        description: The user's text.
        framework: One of v1's words.
        framework_version: The framework's own version.
        tags: May change.
        properties: Only added to.
        datasets: Pairs of a purpose and a dataset's id.
        sample_input_dataset_id: A dataset with sample requests.
        sample_output_dataset_id: A dataset with sample answers.
        resource_configuration: v1's JSON of it.
        created_time: UTC.
        modified_time: UTC.
        files: Its files, by path.
    """

    name: str
    version: int = 0
    description: str | None = None
    framework: str = "Custom"
    framework_version: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    datasets: list[list[str]] = field(default_factory=list)
    sample_input_dataset_id: str | None = None
    sample_output_dataset_id: str | None = None
    resource_configuration: dict[str, Any] | None = None
    created_time: datetime = datetime.min
    modified_time: datetime = datetime.min
    files: tuple[ModelFile, ...] = ()

    @property
    def id(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"


_COLUMNS = tuple(item.name for item in fields(ModelRecord) if item.name != "files")


class ModelTable:
    """The registered models of one workspace.

    Args:
        database: The registry.
        workspace_id: The workspace's row.
        files: Where the bytes are.
    """

    def __init__(self, database: Database, workspace_id: int, files: Files) -> None:
        self._database = database
        self._workspace_id = workspace_id
        self._files = files

    def register(self, draft: ModelRecord, sources: Sequence[Source], report: Report = silent) -> ModelRecord:
        """Store a model's files and record it under the next version: all of it, or nothing.

        Args:
            draft: What the user said; version, times and files are filled in here.
            sources: The files.
            report: Is told of the bytes stored.

        Returns:
            The model as recorded.

        Raises:
            WorkspaceException: The disk is full, or the workspace cannot be written.
        """
        for _ in range(_TRIES):
            try:
                return self._register(draft, sources, report)
            except Vanished:
                continue
            except OSError as error:
                raise self._explained(error) from None
        raise WorkspaceException(
            "the model's files were swept away again and again while they were stored",
            where=self._database.shown,
            hint="wait for `mldeploy workspace gc` to end, then try again",
        )

    def _register(self, draft: ModelRecord, sources: Sequence[Source], report: Report) -> ModelRecord:
        with self._files.staging() as staging:
            files = _stage(staging, sources, report)
            keeping = False
            try:
                with self._database.write() as connection:
                    # Holds `gc` off; other registrations may go on.
                    lock_table(connection, "model_files", "ROW EXCLUSIVE")
                    keeping = True
                    staging.keep()
                    return self._insert(connection, draft, files)
            except BaseException:
                if keeping:
                    with contextlib.suppress(WorkspaceException):
                        self.gc()
                raise

    def _insert(self, connection: Connection, draft: ModelRecord, files: tuple[ModelFile, ...]) -> ModelRecord:
        now = datetime.now(timezone.utc)
        version = next_version(connection, self._workspace_id, "model", draft.name)
        record = replace(draft, version=version, created_time=now, modified_time=now, files=files)
        row = {column: getattr(record, column) for column in _COLUMNS}
        result = connection.execute(insert(models).values(**row, workspace_id=self._workspace_id))
        (model_id,) = result.inserted_primary_key or (None,)
        connection.execute(insert(model_files), [{"model_id": model_id, **vars(file)} for file in files])
        return record

    def list(self, name: str | None = None, version: int | None = None) -> builtins.list[ModelRecord]:
        """All models, or those of one name or version, by name, the latest first."""
        asked = ((models.c.name, name), (models.c.version, version))
        return self._select(*[column == value for column, value in asked if value is not None])

    def change(self, name: str, version: int, change: Callable[[ModelRecord], ModelRecord]) -> ModelRecord | None:
        """Change a model's record; nobody else changes it in between.

        Args:
            name: The model.
            version: Its version.
            change: From the record as it is to the one to write; name, version and files stay.

        Returns:
            What was written, None if there is no such model.
        """
        same = self._is(models.c.name == name, models.c.version == version)
        with self._database.write() as connection:
            row = connection.execute(select(models).where(*same).with_for_update()).mappings().first()
            if row is None:
                return None
            found = ModelRecord(**{column: row[column] for column in _COLUMNS}, files=_files(connection, row["id"]))
            changed = replace(change(found), modified_time=datetime.now(timezone.utc))
            values = {column: getattr(changed, column) for column in _COLUMNS}
            connection.execute(update(models).where(*same).values(values))
            return changed

    def delete(self, name: str, version: int) -> None:
        """Forget a version of a model; its bytes stay till `gc`. Nothing happens if there is none.

        Raises:
            UserErrorException: A service uses it; the message names the service.
        """
        with self._database.write() as connection:
            lock_table(connection, "services", "SHARE")
            if users := self._users(connection, f"{name}:{version}"):
                raise UserErrorException(
                    f"model {name}:{version} cannot be deleted: it is used by service {', '.join(users)}",
                    where=f"{name}:{version}",
                    hint="; ".join(f"mldeploy service delete {user}" for user in users),
                )
            same = self._is(models.c.name == name, models.c.version == version)
            connection.execute(delete(models).where(*same))

    def gc(self, report: Report = silent) -> int:
        """Remove the bytes that no model has, in this workspace or any other that shares the files.

        What a living process is storing at the moment stays.

        Args:
            report: Is told the bytes freed.

        Returns:
            The bytes freed.
        """
        with self._database.write() as connection:
            lock_table(connection, "model_files", "EXCLUSIVE")
            wanted = set(connection.execute(select(model_files.c.digest).distinct()).scalars())
            freed = self._files.sweep(wanted)
        report(Notice(f"{freed} bytes freed"))
        return freed

    def _select(self, *conditions: ColumnElement[bool]) -> builtins.list[ModelRecord]:
        order = (models.c.name, models.c.version.desc())
        mine = select(models).where(*self._is(*conditions)).order_by(*order)
        files = select(model_files).join(models).where(*self._is(*conditions)).order_by(model_files.c.path)
        with self._database.read() as connection:
            rows = connection.execute(mine).mappings().all()
            by_model: dict[int, builtins.list[ModelFile]] = {row["id"]: [] for row in rows}
            for model_id, *values in connection.execute(files):
                by_model[model_id].append(ModelFile(*values))
        return [
            ModelRecord(**{column: row[column] for column in _COLUMNS}, files=tuple(by_model[row["id"]]))
            for row in rows
        ]

    def _is(self, *conditions: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
        return (models.c.workspace_id == self._workspace_id, *conditions)

    def _users(self, connection: Connection, model_id: str) -> builtins.list[str]:
        columns = (services.c.name, services.c.model_ids, services.c.owner)
        rows = connection.execute(select(*columns).where(services.c.workspace_id == self._workspace_id))
        # A service that is being replaced is recorded as it was: what is to come is with the operation's owner.
        return sorted(name for name, used, owner in rows if model_id in {*used, *(owner or {}).get("model_ids", ())})

    def _explained(self, error: OSError) -> WorkspaceException:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        return WorkspaceException(
            "the disk is full: the model was not registered" if full else "the model's files cannot be stored",
            where=str(error.filename or self._database.shown),
            reason=error.strerror or str(error),
            hint="free some space, then run `mldeploy workspace gc`"
            if full
            else "see that both can be read and written",
        )


def _stage(staging: Staging, sources: Sequence[Source], report: Report) -> tuple[ModelFile, ...]:
    everything = total(sources)
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        report(Progress("register", done, everything))

    def stage(source: Source) -> ModelFile:
        content: Content = staging.add(source.file, progress)
        return ModelFile(source.path, content.digest, content.size)

    return tuple(sorted((stage(source) for source in sources), key=lambda file: file.path))


def _files(connection: Connection, model_id: int) -> tuple[ModelFile, ...]:
    columns = (model_files.c.path, model_files.c.digest, model_files.c.size)
    rows = connection.execute(select(*columns).where(model_files.c.model_id == model_id).order_by(columns[0]))
    return tuple(ModelFile(*row) for row in rows)
