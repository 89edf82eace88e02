"""What can be known of an entry script without running it."""

from __future__ import annotations

import ast
import keyword
import os.path
import warnings
from pathlib import Path

from mldeploy.errors import UserErrorException

_NEEDED = ("init", "run")


def check_entry_script(path: str | Path) -> None:
    """Checks an entry script as v1 did before it uploaded anything, and that it has `init` and `run`.

    A name that cannot be decided by reading (`from x import *`, `exec`, `globals()`) is left to the server.

    Args:
        path: The script.

    Raises:
        UserErrorException: It does not exist, is no `.py` file, cannot be imported under its name, is not Python
            (with line and text), or has no `init` or no `run`.
    """
    path = Path(path)
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file() raises where a text is no path at all
        reason = "it is a folder" if os.path.isdir(path) else "there is no such file"  # noqa: PTH112
        raise UserErrorException(
            "The entry script cannot be read", where=str(path), reason=reason, hint="check the path of the entry script"
        )
    if path.suffix != ".py":
        raise UserErrorException(
            "The entry script is not a Python file", where=str(path), hint="its name must end in .py"
        )
    if not path.stem.isidentifier() or keyword.iskeyword(path.stem):
        raise UserErrorException(
            f"The entry script cannot be imported: {path.stem!r} is not a Python name",
            where=str(path),
            hint="use letters, digits and underscores, and no keyword",
        )
    missing = _missing(_tree(path))
    if missing:
        names = " and ".join(f"{name}()" for name in missing)
        raise UserErrorException(
            f"The entry script has no {names}", where=str(path), hint="define init() and run(data) at its top level"
        )


def _tree(path: Path) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's own code: under `-W error` they would refuse it
            return ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise UserErrorException(
            f"The entry script is not Python: {error.msg}",
            where=f"{path}:{error.lineno}" if error.lineno else str(path),
            reason=_pointed_at(error),
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nesting that the parser cannot take
        raise UserErrorException(f"The entry script is not Python: {error}", where=str(path)) from None


def _pointed_at(error: SyntaxError) -> str:
    """The line, and below it carets where it is wrong."""
    text = (error.text or "").rstrip()
    if not text or not error.offset:
        return text.strip()
    indent = len(text) - len(text.lstrip())
    width = (error.end_offset or 0) - error.offset if error.end_lineno == error.lineno else 1
    return f"{text.strip()}\n{' ' * (error.offset - 1 - indent)}{'^' * max(1, width)}"


def _missing(tree: ast.Module) -> list[str]:
    names: set[str] = set()
    for node in _top_level(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Global):
            names |= set(node.names)
    undecidable = "*" in names or any(
        isinstance(node, ast.Name) and node.id in {"exec", "globals", "vars", "setattr"} for node in ast.walk(tree)
    )
    return [] if undecidable else [name for name in _NEEDED if name not in names]


def _top_level(node: ast.AST) -> list[ast.AST]:
    """All nodes that run when the module is imported; `global` statements of functions too."""
    nodes: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        nodes.append(child)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            nodes += [inner for inner in ast.walk(child) if isinstance(inner, ast.Global)]
        else:
            nodes += _top_level(child)
    return nodes
