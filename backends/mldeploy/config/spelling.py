"""Unknown keys: which keys an object may have, and the one that was probably meant."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from mldeploy.config.findings import Problem
from mldeploy.config.words import nearest

Tree = dict[str, "Tree | None"]
"""The keys an object may have, each with the keys of the object below it; None where anything may be below."""


def tree_of(model: type[BaseModel]) -> Tree:
    """The keys of a model's objects, as the file spells them."""
    return {field.alias or name: _below(field.annotation) for name, field in model.model_fields.items()}


def _below(annotation: Any) -> Tree | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return tree_of(annotation)
    if get_origin(annotation) in {Union, UnionType, Annotated, list}:
        trees = [tree for tree in map(_below, get_args(annotation)) if tree is not None]
        return trees[0] if trees else None
    return None


def unknown_keys(data: Any, tree: Tree | None, way: tuple[str | int, ...] = ()) -> tuple[Any, list[Problem]]:
    """Takes the keys out of some data that a tree does not have.

    Returns:
        The data that is left, and a problem for each key taken out, naming the nearest known one.

    Examples:
        >>> unknown_keys({"prot": 8890}, {"port": None})
        ({}, [Problem(keys=('prot',), message='is not a known key', hint="did you mean 'port'?")])
    """
    problems: list[Problem] = []
    if tree is None:
        return data, problems
    if isinstance(data, list):
        pairs = [unknown_keys(item, tree, (*way, index)) for index, item in enumerate(data)]
        return [left for left, _ in pairs], [problem for _, more in pairs for problem in more]
    if not isinstance(data, dict):
        return data, problems
    left: dict[str, Any] = {}
    for key, value in data.items():
        if key in tree:
            left[key], more = unknown_keys(value, tree[key], (*way, key))
            problems += more
        else:
            problems.append(Problem((*way, key), "is not a known key", did_you_mean(key, tree)))
    return left, problems


def did_you_mean(key: str, tree: Tree) -> str:
    """The nearest known key as a question, or all of them when none is near."""
    near = nearest(key, tree)
    return f"did you mean {near!r}?" if near else f"known keys: {', '.join(sorted(tree))}"
