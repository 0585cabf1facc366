"""Decoding of images to 8-bit RGB, by one rule for each mode of Pillow; `docs/data.md` has the table of these rules."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from Utils.base.errors import Refused
from Utils.base.text import one_line

_SIGNATURES = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WebP"}
_DAMAGED = (  # what Pillow raises on spoilt or unknown files
    *(OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, ImportError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
_PHOTOMETRIC, _BITS, _ORIENTATION, _SAMPLE_FORMAT = 262, 258, 274, 339  # tags of TIFF, and of EXIF
_WHITE_IS_ZERO, _SIGNED = 0, 2  # their values
_EXIF = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}  # parts of a file that tell its orientation
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG_STEPS = {"L;2": 85, "L;4": 17}  # grey levels between neighbouring values of a PNG of 2 or 4 bits


class _Samples(NamedTuple):
    """The values of an image of one channel, and their name; `top` becomes the grey level 255."""

    values: NDArray[Any]
    top: float
    kind: str


def decode(content: bytes, place: str, upright: bool = True) -> Image.Image:
    """Decode the image in a file's bytes, to RGB; of several frames or pages the first. Raises as `convert`."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _convert(image, place, upright)
    except Refused:  # which is a ValueError
        raise
    except _DAMAGED as error:
        raise _refusal(error, place, content) from error


def convert(image: Image.Image, place: str, upright: bool = True) -> Image.Image:
    """Convert an image of any mode of Pillow to 8-bit RGB.

    Samples of other than 8 bits are scaled by their type alone, so that an image does not depend on the others. Transparent
    parts are laid on white. An `upright` image is turned as its EXIF orientation says.

    Raises:
        Refused: the image cannot be decoded, or its values leave the range of the rule; the message names `place`.
    """
    try:
        return _convert(image, place, upright)
    except Refused:
        raise
    except _DAMAGED as error:
        raise _refusal(error, place) from error


def _refusal(error: Exception, place: str, content: bytes = b"") -> Refused:
    """Return the message for what Pillow raised on a spoilt or unknown file."""
    why, advice = one_line(str(error)), "remove or replace it"
    if isinstance(error, UnidentifiedImageError):
        kind = next((kind for signature, kind in _SIGNATURES.items() if content.startswith(signature)), None)
        why = f"it is damaged, or a kind of {kind} that Pillow does not know" if kind else "it is no image"
        advice = "remove it, or save it as a PNG of 8 bits" if kind else "remove it"
    return Refused(f"cannot read the image {place} ({why}): {advice}")


def _convert(image: Image.Image, place: str, upright: bool) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        rgb = image.convert("RGB")
    else:
        rgb = _on_white(_to_8_bits(image, place))
    turn = _TURNS.get(_orientation(image)) if upright else None
    return rgb if turn is None else rgb.transpose(turn)


def _to_8_bits(image: Image.Image, place: str) -> Image.Image:
    """Return the image in a mode of 8 bits, with a transparent value in the same units. Raises as `convert`."""
    raw_mode = image.tile[0][3] if image.format == "PNG" and image.tile else None  # known until the image is decoded
    image.load()
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    signed = image.format == "TIFF" and tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    if image.mode == "F" or image.mode.startswith("I") or signed:
        return _to_grey(image, _samples(image, tags, signed), tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, place)
    transparent = image.info.get("transparency")
    if raw_mode in _PNG_STEPS and transparent is not None:
        image.info["transparency"] = transparent * _PNG_STEPS[raw_mode]
    elif raw_mode == "RGB;16B" and transparent is not None:
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    return image


def _orientation(image: Image.Image) -> Any:
    """Return the EXIF orientation of a decoded image, 1 to 8; None where there is none or it cannot be read.

    Pillow turns a TIFF by itself, and drops its orientation.
    """
    if image.format != "TIFF" and _EXIF.isdisjoint(image.info):
        return None
    try:
        return image.getexif().get(_ORIENTATION)
    except _DAMAGED:  # spoilt remarks do not spoil the image
        return None


def _samples(image: Image.Image, tags: Mapping[int, Any], signed: bool) -> _Samples:
    """Return the values of an image of deep or signed samples, and the largest value of their type."""
    values = np.asarray(image)
    if image.mode == "F":
        return _Samples(values, 1.0, "floats")
    if image.format == "TIFF":
        bits = tags[_BITS][0]
    elif image.mode == "I" and image.format not in ("PNG", "PPM"):  # an image that was made in memory
        bits, signed = 32, True
    else:
        bits = 16
    if bits == 8:
        values = values.view(np.int8)
    elif bits == 32 and not signed:
        values = values.view(np.uint32)  # Pillow keeps them as int32
    return _Samples(values, 2.0 ** (bits - signed) - 1, f"{bits}-bit {'signed ' * signed}integers")


def _to_grey(image: Image.Image, samples: _Samples, inverted: bool, place: str) -> Image.Image:
    """Map values from 0 to `samples.top` to grey levels from 0 to 255, rounded; of mode L, or LA where a value is transparent.

    Raises:
        Refused: a value is below 0, above the top, or not a number; or an image of 32 bits that is not black would become black.
    """
    values, top, kind = samples
    low, high = float(values.min()), float(values.max())
    found = f"from {low:.6g} to {high:.6g}" if low == low else "not all numbers"
    found, advice = f"its {kind} are {found}", f"scale them so that 0 is black and {top:.10g} white, or save 8 or 16 bits"
    if not (low >= 0 and high <= top):  # so that nan is refused
        raise Refused(f"cannot use the image {place}: {found}; {advice}")
    levels = np.floor(values.astype(np.float64) * 255 / top + 0.5).astype(np.uint8)
    if not 1 < top < 1 << 16 and high > 0 and not levels.any():
        raise Refused(f"cannot use the image {place}: {found}, so that all become black; {advice}")
    grey = Image.fromarray(255 - levels if inverted else levels)
    if "transparency" in image.info:
        grey.putalpha(Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def _on_white(image: Image.Image) -> Image.Image:
    """Convert to RGB, with white behind what is transparent: value * alpha + 255 * (1 - alpha), rounded."""
    transparent = "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
    if not transparent and not image.mode.lower().endswith("a") and getattr(image.palette, "mode", "RGB") != "RGBA":
        return image.convert("RGB")
    image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    if image.getchannel("A").getextrema()[0] == 255:
        return image.convert("RGB")
    pixels = np.asarray(image).astype(np.uint16)
    alpha = pixels[..., 3:]
    return Image.fromarray(((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8))
