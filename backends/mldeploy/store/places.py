"""Where mldeploy keeps things: registered data, the cache, and a team's shared store.

Two settings move everything: `MLDEPLOY_STORE` (a folder, or a `postgresql://` URL) and `MLDEPLOY_CACHE`
(a folder). Without them the data and cache folders of the operating system's user are taken.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from mldeploy.errors import WorkspaceException

STORE = "MLDEPLOY_STORE"
CACHE = "MLDEPLOY_CACHE"
EXAMPLE = "postgresql://user@host/database?files=abfs://container/prefix"


@dataclass(frozen=True)
class FolderStore:
    """Workspaces as folders below `root`, each with an SQLite database and its files.

    Args:
        root: The folder that has `workspaces/`.
    """

    root: Path


@dataclass(frozen=True)
class DatabaseStore:
    """Workspaces as rows of one PostgreSQL database, their files at one fsspec location.

    Args:
        url: The database's URL, password included; never shown.
        files: An fsspec URL or a folder; never shown either, for it may have a key in it.
        shown: What messages may say: the database's host and name.
    """

    url: str = field(repr=False)
    files: str = field(repr=False)
    shown: str


def data_root() -> Path:
    """The folder for workspaces and for the folders of running services.

    Returns:
        `$MLDEPLOY_STORE` if that is a folder, else the user's data folder for mldeploy.
    """
    setting = os.environ.get(STORE, "")
    if setting and not _is_url(setting):
        return Path(setting).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("mldeploy", appauthor=False)


def cache_root() -> Path:
    """The folder for what can be made again: environments, packages and the locks that guard them.

    Returns:
        `$MLDEPLOY_CACHE`, else the user's cache folder for mldeploy.
    """
    if setting := os.environ.get(CACHE, ""):
        return Path(setting).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("mldeploy", appauthor=False)


def store_location(store: str | None = None) -> FolderStore | DatabaseStore:
    """Read the one setting that says where workspaces live.

    Args:
        store: A folder or URL; None takes `$MLDEPLOY_STORE`, and without that the user's data folder.

    Returns:
        The folder, or the database with its file location.

    Raises:
        WorkspaceException: The URL is of a kind that is not known, or says nothing of files.
    """
    setting = store or os.environ.get(STORE, "")
    if not setting:
        return FolderStore(data_root())
    if not _is_url(setting):
        return FolderStore(Path(setting).expanduser().absolute())
    return _database_store(setting)


def local_folder(files: str) -> Path | None:
    """The folder that a file location names, None if it is a place of another kind."""
    if files.startswith("file://"):
        return Path(files.removeprefix("file://"))
    return None if _is_url(files) else Path(files).expanduser().absolute()


def _is_url(setting: str) -> bool:
    return "://" in setting


def _database_store(setting: str) -> DatabaseStore:
    parts = urlsplit(setting)
    if parts.scheme.split("+")[0] not in {"postgresql", "postgres"}:
        raise WorkspaceException(
            f"a store cannot be a {parts.scheme}:// URL", where=STORE, hint=f"a folder, or {EXAMPLE}"
        )
    query = parse_qsl(parts.query, keep_blank_values=True)
    files = next((value for key, value in query if key == "files"), "")
    if not files:
        raise WorkspaceException(
            "the store's URL does not say where its files go",
            where=STORE,
            hint=f"add ?files=LOCATION, as in {EXAMPLE}",
        )
    rest = urlencode([(key, value) for key, value in query if key != "files"], quote_via=quote)
    url = urlunsplit(("postgresql+psycopg", parts.netloc, parts.path, rest, ""))
    host = parts.netloc.rpartition("@")[2]
    return DatabaseStore(url, files, f"postgresql://{host}{parts.path}")
