"""The layers of a package's own files: one for each model, one for the source."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mldeploy.images.layers import layer
from mldeploy.images.layers.environment import APP_ROOT, USER
from mldeploy.images.layers.layer import Entry, Layer, folder
from mldeploy.packaging.source import MODELS_FOLDER

if TYPE_CHECKING:
    from mldeploy.model import Model
    from mldeploy.packaging.package import Package

_MOST_LAYERS = 40  # an image may have some 120, and the environment needs some of them


def model_layers(package: Package) -> tuple[Layer, ...]:
    """The models, read-only; those after the first 40 share a layer.

    Raises:
        EnvironmentException: The disk is full.
        WorkspaceException: A stored file is gone or damaged.
    """
    alone, together = package.models[:_MOST_LAYERS], package.models[_MOST_LAYERS:]
    made = [_model_layer((model,)) for model in alone]
    return (*made, _model_layer(together)) if together else tuple(made)


def source_layer(package: Package) -> Layer:
    """The entry script and what goes with it, the serving user's own as it is in a process.

    Raises:
        EnvironmentException: The disk is full.
    """
    key = f"source {package.source.digest()}"
    if known := layer.cached(key):
        return known
    with layer.staging() as root:
        # as where models are laid out first: nothing of the source's takes their place
        (root / MODELS_FOLDER).mkdir()
        package.source.copy_to(root)
        (root / MODELS_FOLDER).rmdir()
        return layer.write(key, "source", [_app_root(), *_below(root, owner=USER, mode=0o644)])


def _model_layer(models: tuple[Model, ...]) -> Layer:
    files = [f"{model.id}/{file.path}/{file.digest}" for model in models for file in model.files]
    key = "models " + hashlib.sha256("\0".join(files).encode()).hexdigest()
    if known := layer.cached(key):
        return known
    names = ", ".join(model.id for model in models[:3]) + (", …" if len(models) > 3 else "")
    with layer.staging() as root:
        for model in models:
            model.materialize(root / MODELS_FOLDER / model.name / str(model.version))
        return layer.write(key, f"models: {names}", [_app_root(), *_below(root, owner=0, mode=0o444)])


def _app_root() -> Entry:
    return folder(APP_ROOT[1:], owner=USER)


def _below(root: Path, owner: int, mode: int) -> Iterator[Entry]:
    for above, folders, names in os.walk(root):
        here = Path(above)
        for name in (*folders, *names):
            path = here / name
            there = f"{APP_ROOT[1:]}/{path.relative_to(root).as_posix()}"
            if path.is_symlink():
                yield Entry(there, link=str(path.readlink()), owner=owner)
            elif name in folders:
                yield folder(there, owner=owner)
            else:
                executable = 0o111 if os.access(path, os.X_OK) else 0
                yield Entry(there, path, mode | executable, owner)
