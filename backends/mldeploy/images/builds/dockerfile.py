"""A Dockerfile as lines and instructions: enough to say which one failed, and what images it stands on.

What the instructions mean is the engine's to say. Syntax: the Dockerfile reference, in the form that the classic
builder takes (no here-documents).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_ESCAPE = re.compile(r"#\s*escape\s*=\s*(\S)\s*$", re.IGNORECASE)
_DIRECTIVE = re.compile(r"#\s*\w+\s*=")
_FROM = re.compile(r"(FROM\s+(?:--\S+\s+)*)(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_COPY = re.compile(r"(COPY\s+(?:--\S+\s+)*?--from=)(\S+)", re.IGNORECASE)
_ARG = re.compile(r"ARG\s+(\w+)(?:=(\S*))?", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^}]*))?\})")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Args:
        line: Where it begins, from 1.
        text: It, its continued lines joined by a space.
    """

    line: int
    text: str

    @property
    def word(self) -> str:
        """What it begins with: `FROM`, `RUN`."""
        return self.text.split(None, 1)[0].upper()


def instructions(text: str) -> list[Instruction]:
    r"""Read a Dockerfile.

    Args:
        text: All of it.

    Returns:
        Its instructions in their order, which is that of the engine's steps.

    Examples:
        >>> for one in instructions("FROM a\n# why\nRUN x && \\\n    # what\n    y\n"):
        ...     print(one.line, one.text)
        1 FROM a
        3 RUN x && y
    """
    lines = text.splitlines()
    escape = _escape(lines)
    found: list[Instruction] = []
    begun, parts = 0, list[str]()
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        begun = begun or number
        goes_on = stripped.endswith(escape)
        parts.append(stripped.removesuffix(escape).strip() if goes_on else stripped)
        if not goes_on:
            found.append(Instruction(begun, " ".join(part for part in parts if part)))
            begun, parts = 0, []
    if any(parts):
        found.append(Instruction(begun, " ".join(part for part in parts if part)))
    return found


def bases(text: str) -> list[str]:
    r"""The images that a Dockerfile stands on, or copies from.

    Args:
        text: All of it.

    Returns:
        What its `FROM`s and `COPY --from`s name, without earlier stages and `scratch`, each once; the defaults of
        `ARG`s put in.

    Examples:
        >>> bases("ARG TAG=12\nFROM debian:${TAG} AS build\nCOPY --from=tools /x /x\nFROM scratch\nCOPY --from=0 /x /")
        ['debian:12', 'tools']
    """
    return list(dict.fromkeys(image for _, image in _bases(text)))


def with_bases(text: str, replaced: Callable[[str], str]) -> str:
    r"""Put other images under a Dockerfile; its lines keep their numbers.

    Args:
        text: All of it.
        replaced: From the name of an image to the name of the one to take.

    Examples:
        >>> with_bases("FROM a AS b\nFROM b\nCOPY --from=c /x /\n", str.upper)
        'FROM A AS b\nFROM b\nCOPY --from=C /x /\n'
    """
    lines = text.splitlines(keepends=True)
    for instruction, image in _bases(text):
        at = instruction.line - 1
        found = (_COPY if instruction.word == "COPY" else _FROM).search(lines[at])
        other = replaced(image)
        if found and other != image:
            lines[at] = f"{lines[at][: found.start(2)]}{other}{lines[at][found.end(2) :]}"
    return "".join(lines)


def declares(text: str, name: str) -> bool:
    """Tells whether a Dockerfile takes a build argument, whose value is then seen in the image's history."""
    return any((match := _ARG.match(one.text)) and match[1] == name for one in instructions(text))


def _bases(text: str) -> Iterator[tuple[Instruction, str]]:
    values: dict[str, str] = {}
    stages = {"scratch"}
    before_first = True
    for instruction in instructions(text):
        if before_first and (argument := _ARG.match(instruction.text)):
            values[argument[1]] = (argument[2] or "").strip("\"'")
        if copied := _COPY.match(instruction.text):
            if copied[2].lower() not in stages and not copied[2].isdigit():
                yield instruction, copied[2]
            continue
        if (found := _FROM.match(instruction.text)) is None:
            continue
        before_first = False
        image = _VARIABLE.sub(lambda match: values.get(match[1] or match[2]) or match[3] or "", found[2])
        if image.lower() not in stages:
            yield instruction, image
        if found[3]:
            stages.add(found[3].lower())


def _escape(lines: list[str]) -> str:
    for line in lines:
        if not _DIRECTIVE.match(line.strip()):
            break
        if match := _ESCAPE.match(line.strip()):
            return match[1]
    return "\\"
