"""What models made, as pictures: many small ones on one WebP sheet."""

import io

import numpy as np
from PIL import Image


def sheet(pictures: np.ndarray, quality: int = 80) -> np.ndarray:
    """WebP bytes, uint8 (length,), of grey pictures (rows, columns, h, w) in [0, 1], edge to edge."""
    rows, columns, height, width = pictures.shape
    flat = np.rint(np.clip(pictures, 0, 1) * 255).astype(np.uint8).swapaxes(1, 2)
    buffer = io.BytesIO()
    Image.fromarray(flat.reshape(rows * height, columns * width)).save(buffer, "WEBP", quality=quality, method=6)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def pictures(encoded: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The pictures of a `sheet`, float32 (rows, columns, h, w) in [0, 1], as near as WebP keeps them."""
    flat = np.asarray(Image.open(io.BytesIO(encoded.tobytes())).convert("L"), np.float32) / 255
    return flat.reshape(rows, flat.shape[0] // rows, columns, -1).swapaxes(1, 2)


def stretched(x: np.ndarray) -> np.ndarray:
    """Each picture (…, h, w) on its own scale, from 0 to 1; a picture of one value is 0."""
    low, high = x.min((-2, -1), keepdims=True), x.max((-2, -1), keepdims=True)
    return np.divide(x - low, high - low, out=np.zeros_like(x), where=high > low)
