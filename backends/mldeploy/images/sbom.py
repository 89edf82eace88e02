"""What an image is made of, as a CycloneDX bill of materials: the same bytes for the same environment.

It is written from the lock, so it says what was decided, with the hashes that installing was held to. Debian's own
packages in the base image are not listed one by one: the image is named by its id.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from mldeploy.errors import UserErrorException
from mldeploy.packaging import serving_wheel

if TYPE_CHECKING:
    from cyclonedx.model import HashType
    from cyclonedx.model.component import Component
    from docker import DockerClient
    from packageurl import PackageURL

    from mldeploy.images.resolving import ImageEnvironment

PLACE = "opt/mldeploy/sbom.cdx.json"
"""Where it is in an image, without a leading slash."""

_EPOCH = datetime(1980, 1, 1, tzinfo=timezone.utc)  # as all in a layer
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


def sbom(environment: ImageEnvironment) -> bytes:
    """The bill of materials of an environment: CycloneDX 1.6, as JSON.

    Args:
        environment: What `images.resolving.resolve` gave.

    Returns:
        The document; its serial number follows from the environment's digest.
    """
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    image = Component(
        type=ComponentType.CONTAINER,
        name="mldeploy environment",
        version=f"sha256:{environment.digest}",
        bom_ref="environment",
    )
    parts = [_base(environment), _python(environment), *_pinned(environment.lock), _server(), *_conda(environment)]
    bom = Bom(components=parts, serial_number=uuid.uuid5(uuid.NAMESPACE_OID, environment.digest))
    bom.metadata.component = image
    bom.metadata.timestamp = _EPOCH
    bom.register_dependency(image, parts)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def sbom_of(client: DockerClient, image: str) -> bytes:
    """The bill of materials that an image has in it.

    Args:
        client: The engine.
        image: A name or an id.

    Raises:
        UserErrorException: There is no such image, or it is none of ours.
        EngineException: The engine does not answer.
    """
    from mldeploy.images.builds.throwaway import throwaway
    from mldeploy.images.foundations.base import inspect

    found = inspect(client, image)
    if found is None:
        raise UserErrorException(f"there is no image {image}", hint="mldeploy images list, or docker images")
    with throwaway(client, found.id, ["-"], kind="sbom") as container:
        if not container.has(f"/{PLACE}"):
            raise UserErrorException(
                f"{image} has no bill of materials", where=image, hint="mldeploy images list shows those that have one"
            )
        archive = io.BytesIO(b"".join(container.get(f"/{PLACE}")))
    with tarfile.open(fileobj=archive) as tar:
        member = tar.extractfile(tar.next() or "")
        return member.read() if member else b""


def _base(environment: ImageEnvironment) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    image = environment.foundation.image
    return Component(
        type=ComponentType.CONTAINER,
        name="base image",
        version=image.id,
        bom_ref="base-image",
        hashes=_hashes([image.id]),
        description=f"{image.os}/{image.architecture}",
    )


def _python(environment: ImageEnvironment) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        type=ComponentType.PLATFORM,
        name="python",
        version=environment.python,
        bom_ref="python",
        description=environment.interpreter,
    )


def _pinned(lock: str) -> Iterator[Component]:
    """The packages of a lock; the hashes are those of all files of a release that installing is held to."""
    for entry in lock.replace("\\\n", " ").splitlines():
        line, _, rest = entry.partition(" --hash=")
        try:
            pin = Requirement(line.strip())
        except InvalidRequirement:  # an empty line, a comment, an option
            continue
        version = next((each.version for each in pin.specifier if each.operator in {"==", "==="}), None)
        yield _pypi(canonicalize_name(pin.name), version, _HASH.findall(f"--hash={rest}"), pin.url)


def _server() -> Component:
    from packageurl import PackageURL

    wheel = serving_wheel.serving_wheel()
    name, version, _, _ = parse_wheel_filename(wheel.path.name)
    return _library(PackageURL("pypi", None, str(name), str(version)), [f"sha256:{wheel.sha256}"])


def _conda(environment: ImageEnvironment) -> Iterator[Component]:
    from packageurl import PackageURL

    for record in environment.conda.records if environment.conda else ():
        yield _library(PackageURL.from_string(record.purl), [f"sha256:{record.sha256}"], record.license)


def _pypi(name: str, version: str | None, hashes: Iterable[str], url: str | None = None) -> Component:
    """A distribution of an index, or of a URL (github.com/package-url/purl-spec)."""
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri
    from packageurl import PackageURL

    made = _library(PackageURL("pypi", None, name, version, {"download_url": url} if url else None))
    # as cyclonedx-py does it: a release has many files, and any one of them may be installed
    place = XsUri(url or f"https://pypi.org/simple/{name}/")
    files = ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=place, hashes=_hashes(hashes))
    made.external_references.add(files)
    return made


def _library(purl: PackageURL, hashes: Iterable[str] = (), license_name: str = "") -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense

    return Component(
        type=ComponentType.LIBRARY,
        name=purl.name,
        version=purl.version,
        purl=purl,
        bom_ref=purl.to_string(),
        hashes=_hashes(hashes),
        licenses=[DisjunctiveLicense(name=license_name)] if license_name else None,
    )


def _hashes(digests: Iterable[str]) -> list[HashType]:
    from cyclonedx.model import HashAlgorithm, HashType

    return [HashType(alg=HashAlgorithm.SHA_256, content=digest.partition(":")[2]) for digest in digests]
