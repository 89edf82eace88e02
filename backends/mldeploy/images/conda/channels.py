"""From a channel as written to the URLs that are asked, as conda itself does it.

Of the user's `.condarc` these keys are honoured: `channel_alias`, `channels`, `default_channels`, `custom_channels`,
`custom_multichannels`, `channel_priority`. Mirrors, proxies, certificates and credentials are py-rattler's to know:
`~/.config/rattler/config.toml`, netrc, the keyring, `RATTLER_AUTH_FILE`.

Source: conda's documentation, "Using the .condarc conda configuration file".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mldeploy.errors import EnvironmentException
from mldeploy.packaging import uv

_ALIAS = "https://conda.anaconda.org"
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_OF_NOBODY = ("conda-forge",)  # the vendor's own channel is not for everybody to use
_TOKEN = re.compile(r"(?<=/t/)[^/\s'\"]+")


@dataclass(frozen=True)
class Channel:
    """One source of packages.

    Args:
        name: As it was written.
        urls: The channels behind it; several for a name such as `defaults`.
    """

    name: str
    urls: tuple[str, ...]


def scrub(text: str) -> str:
    """Take credentials out of a text, conda's tokens too.

    Examples:
        >>> scrub("https://me:secret@host.example/t/tk-123/team: 403")
        'https://***@host.example/t/***/team: 403'
    """
    return _TOKEN.sub("***", uv.scrub(text))


def settings() -> dict[str, Any]:
    """What the user's conda is configured with: each key from the first file that has it.

    Raises:
        EnvironmentException: A file is not YAML.
    """
    import yaml

    found: dict[str, Any] = {}
    for path in _files():
        try:
            said = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, yaml.YAMLError) as error:
            raise EnvironmentException("conda's settings cannot be read", where=str(path), reason=str(error)) from None
        found = {**(said if isinstance(said, dict) else {}), **found}
    if alias := os.environ.get("CONDA_CHANNEL_ALIAS"):
        found["channel_alias"] = alias
    return found


def sources(written: Iterable[str], conda: Mapping[str, Any]) -> tuple[Channel, ...]:
    """The channels of an environment.

    Args:
        written: As in a conda file; without any, those of the user's conda count, and `conda-forge` where it has none.
        conda: The user's settings.

    Returns:
        In the order of their priority.

    Raises:
        EnvironmentException: There are credentials in one.

    Examples:
        >>> sources(["nodefaults", "conda-forge", "https://host.example/team/"], {})[1].urls
        ('https://host.example/team',)
        >>> sources([], {"channels": ["ours"], "channel_alias": "https://host.example/conda"})
        (Channel(name='ours', urls=('https://host.example/conda/ours',)),)
    """
    # an empty list in a file says that there is nothing special to say
    names = [name for name in written if name != "nodefaults"] or _texts(conda.get("channels")) or _OF_NOBODY
    return tuple(channel(name, conda) for name in dict.fromkeys(names))


def channel(name: str, conda: Mapping[str, Any]) -> Channel:
    """One channel.

    Args:
        name: A name, a name below one (`conda-forge/label/dev`), a URL, or a folder.
        conda: The user's settings.

    Raises:
        EnvironmentException: There are credentials in it.
    """
    groups = conda.get("custom_multichannels")
    if isinstance(groups, Mapping) and name in groups:
        return Channel(name, tuple(_url(part, conda) for part in _texts(groups[name])))
    if name == "defaults":
        return Channel(name, tuple(_url(part, conda) for part in _texts(conda.get("default_channels")) or _DEFAULTS))
    return Channel(name, (_url(name, conda),))


def _url(name: str, conda: Mapping[str, Any]) -> str:
    if re.match(r"[A-Za-z]+://", name):
        url = name
    elif name.startswith(("/", "./", "../", "~")):
        url = Path(name).expanduser().resolve().as_uri()
    else:
        own = conda.get("custom_channels")
        below = own.get(name.partition("/")[0]) if isinstance(own, Mapping) else None
        url = f"{str(below or conda.get('channel_alias') or _ALIAS).rstrip('/')}/{name}"
    url = url.rstrip("/")
    if "@" in urlsplit(url).netloc or _TOKEN.search(url):
        raise EnvironmentException(
            f"the conda channel {scrub(url)} has credentials in it",
            where="condaDependencies: channels",
            reason="credentials stay out of an environment",
            hint="write the URL without them, and put them in netrc, or in a file that RATTLER_AUTH_FILE names",
        )
    return url


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _files() -> list[Path]:
    """The one that counts most first."""
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    places = (
        os.environ.get("CONDARC", ""),
        "~/.condarc",
        "~/.conda/.condarc",
        f"{config}/conda/.condarc",
        "/etc/conda/.condarc",
    )
    return [Path(place).expanduser() for place in places if place]
