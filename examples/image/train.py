"""Draws discs, squares and triangles and writes what each looks like on average to outputs/shapes.npz."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from source.outline import outline

OUTPUTS = Path(__file__).parent / "outputs"
PER_SHAPE = 50


def draw(name, generator):
    """One shape, black on white, somewhere in an image of 64 x 64 pixels."""
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    left, top = generator.integers(2, 20, 2).tolist()
    side = int(generator.integers(20, 40))
    if name == "disc":
        pen.ellipse((left, top, left + side, top + side), fill="black")
    elif name == "square":
        pen.rectangle((left, top, left + side, top + side), fill="black")
    else:
        pen.polygon([(left, top + side), (left + side, top + side), (left + side / 2, top)], fill="black")
    return image


def main():
    generator = np.random.default_rng(0)
    names = ["disc", "square", "triangle"]
    outlines = [
        np.mean([outline(draw(name, generator)) for _ in range(PER_SHAPE)], axis=0).astype(np.float32) for name in names
    ]
    OUTPUTS.mkdir(exist_ok=True)
    np.savez(OUTPUTS / "shapes.npz", names=names, outlines=outlines)
    print(f"wrote outputs/shapes.npz: the mean of {PER_SHAPE} drawings of each of {', '.join(names)}")


if __name__ == "__main__":
    main()
