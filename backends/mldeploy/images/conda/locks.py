"""The lock of an image's conda packages: text that is the same for the same packages, and all that installing needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from mldeploy.packaging.stubs import Provided

Inside = tuple[Mapping[str, Sequence[str]], tuple[str, ...]]
"""Of a package, what `CondaPackage` has as `distributions` and `scripts`."""

_FORMAT = 1
_OF_THE_CHANNEL = {"indexed_timestamp"}  # changes when the channel is indexed anew, the package does not


@dataclass(frozen=True)
class CondaPackage:
    """A conda package, decided to the byte.

    Args:
        record: What its channel's index says of it, as in `repodata.json`, with `url`, `fn` and `channel`.
        distributions: `NAME==VERSION` of the Python distributions in it, and the lines of their metadata on extras.
        scripts: Its link and activation scripts, relative to the prefix; they are not run.
    """

    record: Mapping[str, Any]
    distributions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Conda's name of it."""
        return str(self.record["name"])

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.record["version"])

    @property
    def build(self) -> str:
        """Its build string."""
        return str(self.record["build"])

    @property
    def subdir(self) -> str:
        """The platform it is for: `linux-64`, `noarch`."""
        return str(self.record["subdir"])

    @property
    def channel(self) -> str:
        """The URL of the channel that has it."""
        return str(self.record["channel"])

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        return str(self.record["url"])

    @property
    def sha256(self) -> str:
        """The archive's, hexadecimal."""
        return str(self.record["sha256"])

    @property
    def license(self) -> str:
        """As its author wrote it; empty where nothing is said."""
        return str(self.record.get("license") or "")

    @property
    def purl(self) -> str:
        """The package URL, for a bill of materials.

        Source: the purl specification's type `conda`.
        """
        kind = "conda" if str(self.record["fn"]).endswith(".conda") else "tar.bz2"
        told = {"build": self.build, "channel": self.channel, "subdir": self.subdir, "type": kind}
        qualifiers = "&".join(f"{name}={quote(value, safe='')}" for name, value in told.items())
        return f"pkg:conda/{quote(self.name)}@{quote(self.version)}?{qualifiers}"


@dataclass(frozen=True)
class CondaLock:
    """The conda packages of an image.

    Args:
        records: Its packages, by name.
        specs: What was asked for.
    """

    records: tuple[CondaPackage, ...]
    specs: tuple[str, ...] = ()

    @property
    def python(self) -> str | None:
        """The version of the Python among them, which is then the environment's; None for the foundation's."""
        return next((package.version for package in self.records if package.name == "python"), None)

    @property
    def present(self) -> tuple[str, ...]:
        """`NAME==VERSION`, in pip's names, of what pip need not install any more."""
        return tuple(pin for pin, _ in self.provided)

    @property
    def provided(self) -> tuple[Provided, ...]:
        """The same, with the lines of their metadata on extras: what uv has to know of them."""
        found = {pin: tuple(lines) for package in self.records for pin, lines in package.distributions.items()}
        return tuple(sorted(found.items()))

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know."""
        kinds = (
            ("-post-link.sh", "the link scripts of {} are not run: what they would set up is missing"),
            ("activate.d/", "the activation scripts of {} are not run: set what they set as environment variables"),
        )
        named = ((text, self._with_script(part)) for part, text in kinds)
        return tuple(f"conda packages: {text.format(', '.join(names))}" for text, names in named if names)

    def _with_script(self, part: str) -> list[str]:
        return [package.name for package in self.records if any(part in script for script in package.scripts)]

    @property
    def text(self) -> str:
        """To be kept: without credentials, and without the time."""
        packages = [
            {**package.record, "distributions": package.distributions, "scripts": package.scripts}
            for package in self.records
        ]
        return (
            json.dumps({"format": _FORMAT, "packages": packages, "specs": self.specs}, indent=1, sort_keys=True) + "\n"
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @classmethod
    def parse(cls, text: str) -> CondaLock:
        """Read what `text` was.

        Raises:
            ValueError: It is no lock, or of a later format.
        """
        said = json.loads(text)
        if not isinstance(said, dict) or said.get("format") != _FORMAT:
            raise ValueError("this is no lock of conda packages that this mldeploy can read")
        packages = tuple(
            CondaPackage(one, one.pop("distributions"), tuple(one.pop("scripts"))) for one in said["packages"]
        )
        return cls(packages, tuple(said["specs"]))


def locked(records: list[dict[str, Any]], found: Mapping[str, Inside], specs: tuple[str, ...]) -> CondaLock:
    """Make a lock.

    Args:
        records: What was decided.
        found: For each name, what is in the package.
        specs: What was asked for.
    """
    packages = [
        CondaPackage(
            {key: value for key, value in record.items() if key not in _OF_THE_CHANNEL},
            *found.get(record["name"], ({}, ())),
        )
        for record in records
    ]
    return CondaLock(tuple(sorted(packages, key=lambda package: package.name)), specs)
