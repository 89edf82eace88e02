"""Tests of a service whose requests are image files: names of shapes, whatever their format, colour and place."""

import io

import pytest
from PIL import Image, ImageDraw

from mldeploy.exceptions import WebserviceException

pytestmark = pytest.mark.mldeploy(
    "inferenceconfig.json",
    models={"shapes": "outputs/shapes.npz"},
    deployment_config="deploymentconfig.json",
    name="image",
)

SHAPES = {
    "disc": lambda pen, box, colour: pen.ellipse(box, fill=colour),
    "square": lambda pen, box, colour: pen.rectangle(box, fill=colour),
    "triangle": lambda pen, box, colour: pen.polygon(
        [(box[0], box[3]), (box[2], box[3]), ((box[0] + box[2]) / 2, box[1])], fill=colour
    ),
}


def picture(shape, size=(120, 90), box=(30, 20, 80, 70), ground="white", colour="black", kind="PNG"):
    """The bytes of an image file with one shape in it."""
    image = Image.new("RGB", size, ground)
    SHAPES[shape](ImageDraw.Draw(image), box, colour)
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_its_name(mldeploy_service, shape):
    answer = mldeploy_service.run(picture(shape))
    assert answer["shape"] == shape
    assert (answer["width"], answer["height"]) == (120, 90)
    assert answer["distances"][shape] == min(answer["distances"].values()) < 0.1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF"])
def test_the_file_format_does_not_matter(mldeploy_service, kind):
    assert mldeploy_service.run(picture("disc", kind=kind))["shape"] == "disc"


@pytest.mark.parametrize(("ground", "colour"), [("black", "white"), ("navy", "gold"), ("green", "red")])
@pytest.mark.parametrize("shape", SHAPES)
def test_colours_do_not_matter(mldeploy_service, shape, ground, colour):
    assert mldeploy_service.run(picture(shape, ground=ground, colour=colour))["shape"] == shape


@pytest.mark.parametrize("shape", SHAPES)
def test_neither_place_nor_size_changes_what_is_seen(mldeploy_service, shape):
    near = mldeploy_service.run(picture(shape, box=(1, 1, 65, 65)))
    far = mldeploy_service.run(picture(shape, size=(1200, 900), box=(700, 300, 1100, 700)))
    assert near["shape"] == far["shape"] == shape
    assert near["distances"] == pytest.approx(far["distances"], abs=0.05)


def blank():
    file = io.BytesIO()
    Image.new("RGB", (10, 10), "white").save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "cannot identify image file", id="empty"),
        pytest.param(b'{"data": [1, 2, 3]}', "cannot identify image file", id="JSON"),
        pytest.param(picture("disc")[:200], "truncated", id="half a file"),
        pytest.param(blank(), "one colour", id="nothing in it"),
    ],
)
def test_what_is_no_picture_of_a_shape_is_refused(mldeploy_service, body, reason):
    with pytest.raises(WebserviceException, match=reason) as refused:
        mldeploy_service.run(body)
    assert refused.value.status_code == 400
