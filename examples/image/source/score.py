"""Names the shape in an image; the body of a request is the file itself, as PNG, JPEG or what else Pillow reads."""

import io
import os

import numpy as np
from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse
from outline import outline
from PIL import Image


def init():
    global names, outlines
    with np.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], "shapes.npz")) as model:
        names, outlines = model["names"], model["outlines"]


@rawhttp
def run(request):
    if request.method != "POST":
        return AMLResponse("POST an image file to this address", 405)
    try:
        with Image.open(io.BytesIO(request.get_data())) as image:
            size = image.size
            seen = outline(image)
    # OSError is Pillow's word for what it cannot read
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return AMLResponse(f"no shape can be seen: {error}", 400)
    distances = np.abs(outlines - seen).mean(axis=(1, 2))
    answer = {
        "shape": str(names[distances.argmin()]),
        "distances": {str(name): float(distance) for name, distance in zip(names, distances, strict=True)},
        "width": size[0],
        "height": size[1],
    }
    return AMLResponse(answer, 200, json_str=True)
