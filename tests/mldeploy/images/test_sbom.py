"""The bill of materials: valid, the same for the same environment, and in the image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from mldeploy.errors import UserErrorException
from mldeploy.images.conda import CondaLock, CondaPackage
from mldeploy.images.foundations.base import BaseImage
from mldeploy.images.foundations.foundation import Foundation
from mldeploy.images.resolving import ImageEnvironment
from mldeploy.images.sbom import sbom, sbom_of
from mldeploy.packaging.serving_wheel import serving_wheel

if TYPE_CHECKING:
    from docker import DockerClient

LOCK = f"""\
Flask==3.0.0 \\
    --hash=sha256:{"1" * 64} \\
    --hash=sha256:{"2" * 64}
tomli==2.0.1 ; python_version < "3.11" \\
    --hash=sha256:{"3" * 64}
mine @ https://wheels.example/mine-1-py3-none-any.whl \\
    --hash=sha256:{"4" * 64}
"""
CONDA = CondaLock(
    (
        CondaPackage(
            {
                "name": "libfoo",
                "version": "1.2",
                "build": "h1_0",
                "subdir": "linux-64",
                "channel": "https://conda.example/forge",
                "url": "https://conda.example/forge/linux-64/libfoo-1.2-h1_0.conda",
                "fn": "libfoo-1.2-h1_0.conda",
                "sha256": "5" * 64,
                "license": "BSD-3-Clause",
            }
        ),
    )
)


def environment(digest: str = "a" * 64, conda: CondaLock | None = CONDA) -> ImageEnvironment:
    image = BaseImage("mldeploy/base:1", f"sha256:{'b' * 64}", (), {}, "amd64", "linux", 1)
    foundation = Foundation(image, "3.11", "/usr/bin/python3.11", "x86_64-manylinux_2_36")
    return ImageEnvironment(foundation, LOCK, digest, conda=conda)


def components(document: bytes) -> dict[str, Any]:
    return {component["name"]: component for component in json.loads(document)["components"]}


@pytest.mark.parametrize("conda", [CONDA, None])
def test_it_is_valid(conda: CondaLock | None) -> None:
    document = sbom(environment(conda=conda)).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None


def test_the_same_environment_has_the_same_bytes() -> None:
    assert sbom(environment()) == sbom(environment())
    assert sbom(environment()) != sbom(environment("c" * 64))


def test_a_package_has_its_url_and_the_hashes_of_its_files() -> None:
    found = components(sbom(environment()))
    flask = found["flask"]
    assert (flask["version"], flask["purl"]) == ("3.0.0", "pkg:pypi/flask@3.0.0")
    (files,) = flask["externalReferences"]
    assert files["type"] == "distribution"
    assert [one["content"] for one in files["hashes"]] == ["1" * 64, "2" * 64]
    assert found["tomli"]["version"] == "2.0.1"
    (files,) = found["mine"]["externalReferences"]
    assert files["url"] == "https://wheels.example/mine-1-py3-none-any.whl"


def test_what_conda_brings_and_what_is_below_is_in_it() -> None:
    found = components(sbom(environment()))
    foo = found["libfoo"]
    assert foo["purl"].startswith("pkg:conda/libfoo@1.2?build=h1_0&channel=")
    assert foo["hashes"] == [{"alg": "SHA-256", "content": "5" * 64}]
    assert foo["licenses"] == [{"license": {"name": "BSD-3-Clause"}}]
    assert found["mldeploy-serving"]["hashes"] == [{"alg": "SHA-256", "content": serving_wheel().sha256}]
    assert found["base image"]["version"] == f"sha256:{'b' * 64}"
    assert found["python"]["version"] == "3.11"


def test_everything_is_what_the_environment_depends_on() -> None:
    document = json.loads(sbom(environment()))
    (root,) = [one for one in document["dependencies"] if one["ref"] == "environment"]
    assert sorted(root["dependsOn"]) == sorted(component["bom-ref"] for component in document["components"])


def test_an_image_without_one(client: DockerClient, base: BaseImage) -> None:
    with pytest.raises(UserErrorException, match="has no bill of materials"):
        sbom_of(client, base.reference)
    with pytest.raises(UserErrorException, match="there is no image mldeploy-tests/none:1"):
        sbom_of(client, "mldeploy-tests/none:1")
