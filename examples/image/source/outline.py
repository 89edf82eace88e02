"""From an image to what the model compares; training and scoring must do it alike."""

import numpy as np
from PIL import Image

SIDE = 16  # pixels


def outline(image):
    """The shape in an image, cut out and scaled: SIDE x SIDE numbers from 0 (ground) to 1 (shape).

    The colour of the top left corner is the ground. An image of one colour has no shape: ValueError.
    """
    pixels = np.asarray(image.convert("RGB"), dtype=float)
    distance = np.abs(pixels - pixels[0, 0]).max(axis=2)
    shape = distance > distance.max() / 2
    if not shape.any():
        raise ValueError("the image has one colour, so there is no shape in it")
    rows, columns = (np.flatnonzero(shape.any(axis=axis)) for axis in (1, 0))
    cut = shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scaled = Image.fromarray(cut.astype(np.uint8) * 255).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(scaled) / 255
