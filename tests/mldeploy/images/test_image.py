"""An image's configuration follows from its base and layers; no engine is asked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mldeploy.images.foundations.base import BaseImage
from mldeploy.images.image import Image
from mldeploy.images.layers.layer import Layer

BASE = BaseImage(
    reference="mldeploy/base:1",
    id="sha256:" + "0" * 64,
    diff_ids=("sha256:" + "1" * 64, "sha256:" + "2" * 64),
    config={"Env": ["PATH=/bin", "KEPT=a=b"], "Labels": {"base": "yes"}, "Cmd": ["sh"], "Hostname": "builder"},
    architecture="amd64",
    os="linux",
    size=1,
)


def layer(digit: str) -> Layer:
    return Layer("sha256:" + digit * 64, Path(digit), 10, f"layer {digit}")


def test_the_configuration_is_the_oci_specifications() -> None:
    image = Image(BASE, (layer("3"),), {"Env": ["PATH=/env/bin"], "Cmd": ["serve"], "Labels": {"ours": "1"}})
    document = json.loads(image.config)
    assert image.id == "sha256:" + hashlib.sha256(image.config).hexdigest()
    assert document["config"] == {
        "Env": ["PATH=/env/bin", "KEPT=a=b"],
        "Cmd": ["serve"],
        "Labels": {"base": "yes", "ours": "1"},
    }
    assert document["rootfs"] == {"type": "layers", "diff_ids": [*BASE.diff_ids, layer("3").diff_id]}
    assert [line["created_by"] for line in document["history"]] == ["base", "base", "layer 3"]
    assert (document["architecture"], document["os"]) == ("amd64", "linux")
    assert image.size_above_base == 10


def test_the_bases_name_does_not_count() -> None:
    renamed = BaseImage(**{**vars(BASE), "reference": "mirror/base:2"})
    assert Image(BASE, (layer("3"),)).id == Image(renamed, (layer("3"),)).id


def test_an_image_with_more_on_it_keeps_what_is_not_said_anew() -> None:
    below = Image(BASE, (layer("3"),), {"User": "1000", "Cmd": ["serve"]})
    above = below.with_layers(layer("4"), Env=["NEW=1"], Cmd=["other"])
    document = json.loads(above.config)
    assert document["config"]["User"] == "1000"
    assert document["config"]["Cmd"] == ["other"]
    assert document["config"]["Env"] == ["PATH=/bin", "KEPT=a=b", "NEW=1"]
    assert above.diff_ids == (*below.diff_ids, layer("4").diff_id)
    assert below.id != above.id
