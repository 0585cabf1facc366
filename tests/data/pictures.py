"""Pictures of all modes and formats, byte by byte where Pillow writes none, and a folder of deep ones."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def picture(mode, value):
    image = Image.new(mode, (2, 1), value)
    if mode in ("P", "PA"):
        image.putpalette([10, 20, 30] * 256)
    return image


def saved(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def png(width, bits, colour, samples, transparent=None):
    """A PNG of one row: `samples` and `transparent` are bytes as the format has them."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    chunks = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)),
        chunk(b"IDAT", zlib.compress(b"\0" + samples)),
    ]
    if transparent is not None:
        chunks.insert(1, chunk(b"tRNS", transparent))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def tiff(bits, samples, sample_format=1, photometric=1, end="<"):
    """A TIFF of one row of two grey samples; formats 1, 2, 3 are unsigned, signed, float."""
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: photometric, 277: 1, 278: 1, 279: len(samples), 339: sample_format}
    tags[273] = 14 + 12 * (len(tags) + 1)  # the samples follow the tags
    entries = (struct.pack(f"{end}HHIHH", tag, 3, 1, value, 0) for tag, value in sorted(tags.items()))
    head = (b"II*\0" if end == "<" else b"MM\0*") + struct.pack(f"{end}IH", 8, len(tags))
    return head + b"".join(entries) + bytes(4) + samples


def deep_folder(root, size, first=10000, step=30000, kind="png"):
    """Two classes of 16-bit grey images: `first` and `first` + `step`, with 257 more in the left half."""
    for part, count in (("train", 3), ("test", 2)):
        for number, name in enumerate(("ant", "bee")):
            (root / part / name).mkdir(parents=True)
            pixels = np.full((size, size), first + step * number, np.uint16)
            pixels[:, : size // 2] += 257
            for index in range(count):
                Image.fromarray(pixels).save(root / part / name / f"{index}.{kind}")
    return f"folder:{root}"
