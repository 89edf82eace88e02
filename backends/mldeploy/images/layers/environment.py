"""The layers of an environment: one for each large package, one for all the small ones, one for the scoring server.

They are made from what uv installs, so a changed requirement rewrites only what it changed: parts are kept by what
is in them, whichever environment they were first made for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mldeploy.events import Report, Step
from mldeploy.images.builds.sdists import index_options
from mldeploy.images.layers import bytecode, layer
from mldeploy.images.layers.distributions import Distribution, by_need, installed
from mldeploy.images.layers.layer import Entry, Layer, folder
from mldeploy.images.resolving import PREFIX, ImageEnvironment
from mldeploy.images.sbom import PLACE, sbom
from mldeploy.packaging import explain, pythons, serving_wheel, user_managed, uv
from mldeploy.packaging.alone import alone
from mldeploy.store.places import cache_root

if TYPE_CHECKING:
    from docker import DockerClient

APP_ROOT = "/var/azureml-app"
HOME = "/home/mldeploy"
USER = 1000
_LARGE_BYTES = 8_000_000  # a package above that is worth a layer of its own
_MOST_LARGE = 40  # an image may have some 120 layers, and models need some of them


def layers(
    client: DockerClient, environment: ImageEnvironment, *, offline: bool = False, report: Report
) -> tuple[Layer, ...]:
    """Make an environment's layers, unless they are in the cache.

    Args:
        client: The engine, whose containers compile.
        environment: What to install.
        offline: Use only what uv has in its cache.
        report: Told of the step, if there is one.

    Returns:
        The layers above the foundation, lowest first; the scoring server's own is the last.

    Raises:
        EnvironmentException: A package cannot be had, or the disk is full; nothing half made is left.
    """
    if known := recalled(environment):
        return known
    with alone(cache_root() / "layers" / "environments" / environment.digest, report):
        if known := recalled(environment):
            return known
        made = _made(client, environment, offline, report)
        layer.remember(_key(environment), made)
    return made


def recalled(environment: ImageEnvironment) -> tuple[Layer, ...] | None:
    """An environment's layers that are in the cache; None where they have to be made."""
    return layer.recall(_key(environment))


def _key(environment: ImageEnvironment) -> str:
    return f"environment {environment.digest}"


def _made(client: DockerClient, environment: ImageEnvironment, offline: bool, report: Report) -> tuple[Layer, ...]:
    below = _below(client, environment, offline, report)
    lock = _buildable(client, environment, below, offline, report)
    report(Step("install", f"installing the image's packages for Python {environment.python}"))
    with layer.staging() as prefix:
        _install(environment, lock, prefix, offline)
        (site,) = prefix.glob("lib/python*/site-packages")
        found = installed(prefix, site, PREFIX[1:], site_packages(environment))
        parts = _parts(client, environment, found, below)
    ordered = by_need([one for one in found if one.name != serving_wheel.NAME])
    large = [one for one in ordered if one.size >= _LARGE_BYTES][:_MOST_LARGE]
    small = [parts[one.name] for one in ordered if one not in large]
    rest = [_frame(environment), *small]
    key = " ".join(one.diff_id for one in rest)
    return (
        *below,
        *(parts[one.name] for one in large),
        layer.join(key, f"environment: {len(small)} packages", rest),
        parts[serving_wheel.NAME],
    )


def _below(client: DockerClient, environment: ImageEnvironment, offline: bool, report: Report) -> tuple[Layer, ...]:
    """What other tools bring: an interpreter that the image lacks, conda's packages."""
    foundation = environment.foundation
    if environment.conda is None:
        return foundation.layers
    from mldeploy.images import conda

    return (*foundation.layers, conda.layer(client, foundation, environment.conda, offline=offline, report=report))


def _buildable(
    client: DockerClient, environment: ImageEnvironment, below: tuple[Layer, ...], offline: bool, report: Report
) -> str:
    """The lock with a wheel in the place of each source distribution."""
    if not environment.sources:
        return environment.lock
    from mldeploy.images.builds.wheels import build_wheels, substituted

    foundation = environment.foundation
    wheels = build_wheels(
        client,
        foundation,
        environment.lock,
        options=environment.options,
        layers=below[len(foundation.layers) :],
        offline=offline,
        report=report,
    )
    return substituted(environment.lock, wheels)


def _install(environment: ImageEnvironment, wanted: str, prefix: Path, offline: bool) -> None:
    wheel = serving_wheel.serving_wheel()
    options = index_options(environment.options)  # what was to be built has been
    lock = prefix.with_name(f"{prefix.name}.lock")
    lock.write_text(f"{wanted}{wheel.requirement()} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    try:
        uv.run(
            "pip", "install", "--prefix", str(prefix), "--require-hashes", "--no-deps", "--no-build",
            "--python", pythons.own(), "--python-version", environment.python,
            "--python-platform", environment.foundation.platform,
            "--requirements", str(lock), *options, *(["--offline"] if offline else []),
        )  # fmt: skip
    except uv.UvFailure as failure:
        raise explain.installing(failure, pythons.own(), tuple(options), offline=offline) from None
    finally:
        lock.unlink()


def _parts(
    client: DockerClient, environment: ImageEnvironment, found: list[Distribution], below: tuple[Layer, ...]
) -> dict[str, Layer]:
    """A layer for each distribution; what is not in the cache is compiled, all at once."""
    image = environment.foundation.image.id
    # one Python compiles as another of its minor version does, most of the time
    compiler = " ".join([image, environment.interpreter, *(one.diff_id for one in below)])
    keys = {one.name: f"distribution {one.digest} compiled by {compiler}" for one in found}
    parts = {name: part for name, key in keys.items() if (part := layer.cached(key))}
    missing = [one for one in found if one.name not in parts]
    sources = {
        entry.path: entry.content
        for one in missing
        for entry in one.files
        if entry.path.endswith(".py") and isinstance(entry.content, Path) and not bytecode.needs_none(entry.path)
    }
    compiled = bytecode.compiled(client, image, environment.interpreter, sources, below=below)
    for one in missing:
        entries = (*one.entries(), *_compiled_of(one, environment.python, compiled))
        parts[one.name] = layer.write(keys[one.name], f"environment: {one.name}=={one.version}", entries)
    return parts


def _compiled_of(distribution: Distribution, python: str, compiled: dict[str, bytes]) -> Iterator[Entry]:
    for entry in distribution.files:
        place = bytecode.place(entry.path, python)
        if code := compiled.get(place):
            yield Entry(place, code)


def _frame(environment: ImageEnvironment) -> Layer:
    """What makes a folder of packages an environment, and a foundation a place to serve in."""
    entries = [
        folder(APP_ROOT[1:], owner=USER),
        folder(HOME[1:], mode=0o1777),  # whichever user it is run as
        *_virtual_environment(environment),
        Entry(PLACE, sbom(environment)),
    ]
    if linked := environment.foundation.site_packages:
        entries.append(Entry(f"{site_packages(environment)}/{user_managed.PTH}", user_managed.pth(linked).encode()))
    key = hashlib.sha256(repr(entries).encode()).hexdigest()
    return layer.write(f"frame {key}", "environment: its frame", entries)


def _virtual_environment(environment: ImageEnvironment) -> Iterator[Entry]:
    interpreter = environment.interpreter
    if interpreter.startswith(f"{PREFIX}/"):  # conda's own, and a whole one
        return
    yield Entry(f"{PREFIX[1:]}/pyvenv.cfg", f"home = {Path(interpreter).parent}\n".encode())
    yield Entry(f"{PREFIX[1:]}/bin/python", link=interpreter)
    yield Entry(f"{PREFIX[1:]}/bin/python3", link="python")
    yield Entry(f"{PREFIX[1:]}/bin/python{environment.python}", link="python")  # what conda's commands name


def site_packages(environment: ImageEnvironment) -> str:
    """Where the environment's packages are in the image, without a leading slash."""
    return f"{PREFIX[1:]}/lib/python{environment.python}/site-packages"
