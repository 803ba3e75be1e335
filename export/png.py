"""A PNG file of a small image, so that a page can hold it without an image library."""

import base64
import struct
import zlib
from typing import TYPE_CHECKING

from fednas.common import ContractError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COLOUR_TYPES = {1: 0, 3: 2}
"""PNG's number for grey and for red, green, blue."""


def png_bytes(pixels: "NDArray[np.uint8]") -> bytes:
    """The file of an image (height, width, channels) of one or three channels, uint8."""
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOUR_TYPES or pixels.dtype.name != "uint8":
        raise ContractError(f"no PNG of an image {pixels.shape} of {pixels.dtype}")
    height, width, channels = pixels.shape
    # Each row begins with the number of its filter: 0, none.
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_link(pixels: "NDArray[np.uint8]") -> str:
    """The file as an address that holds all of it, for ``<img src>``."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(pixels)).decode("ascii")
