"""Runs in a container: compiles `FOLDER/in/**.py` to `FOLDER/out/**.pyc`, with the standard library alone."""

import importlib.util
import marshal
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

UNCHECKED = (1).to_bytes(4, "little")  # PEP 552: named by a hash of the source, which is not looked at
HEAD = importlib.util.MAGIC_NUMBER + UNCHECKED
IN, OUT = Path(sys.argv[1], "in"), Path(sys.argv[1], "out")


def compile_one(name: str) -> None:
    """Write the bytecode of one module."""
    source = (IN / name).read_bytes()
    try:
        code = compile(source, f"/{name}", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):  # a template, or written for another Python
        return
    place = Path(importlib.util.cache_from_source(str(OUT / name)))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(HEAD + importlib.util.source_hash(source) + marshal.dumps(code, 2))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    OUT.mkdir()
    with ProcessPoolExecutor() as pool:
        list(pool.map(compile_one, sorted(str(path.relative_to(IN)) for path in IN.rglob("*.py")), chunksize=16))
