"""The rule for each mode of Pillow, with values by hand."""

import io
import struct
import zipfile

import numpy as np
import pytest
import torch
from pictures import deep_folder, picture, png, saved, tiff
from PIL import Image
from trees import refused

from Utils.data.decoding import convert, decode
from Utils.data.image_files import ZipMembers, files
from Utils.data.open_set import open_dataset
from Utils.data.torchvision_sets import SetImages

CORNERS = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)  # an image of 3x2 grey pixels, all different
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))

MODES = {  # a pixel and the RGB that it becomes
    "1": (255, (255, 255, 255)),
    "L": (100, (100, 100, 100)),
    "P": (7, (10, 20, 30)),  # the palette of `picture`
    "RGB": ((1, 2, 3), (1, 2, 3)),
    "RGBX": ((1, 2, 3, 4), (1, 2, 3)),
    "CMYK": ((255, 0, 51, 51), (0, 204, 163)),  # 255 * 204 / 255, 204 * 204 / 255
    "YCbCr": ((76, 85, 255), (254, 0, 0)),  # 76 + 1.402 * 127 = 254.05
    "HSV": ((0, 255, 128), (128, 0, 0)),
    "LAB": ((0, 128, 128), (0, 0, 0)),
    "LA": ((100, 51), (224, 224, 224)),  # alpha 0.2: 100 / 5 + 204
    "La": ((20, 51), (224, 224, 224)),
    "PA": ((7, 51), (206, 208, 210)),
    "RGBA": ((100, 0, 255, 51), (224, 204, 255)),
    "RGBa": ((20, 0, 51, 51), (224, 204, 255)),
    "I": (1 << 30, (128, 128, 128)),  # 32 bits with a sign: 255 / 2 = 127.5
    "F": (0.5, (128, 128, 128)),
    "I;16": (25700, (100, 100, 100)),
    "I;16L": (25700, (100, 100, 100)),
    "I;16B": (25829, (101, 101, 101)),  # 25829 / 257 = 100.502
    "I;16N": (25828, (100, 100, 100)),  # 100.498
}


def grey(content, upright=True):
    """The first channel of a decoded image, after a check that all channels are alike."""
    pixels = np.asarray(decode(content, "here", upright))
    assert pixels.dtype == np.uint8 and (pixels == pixels[..., :1]).all()
    return pixels[..., 0].tolist()


@pytest.mark.parametrize("mode", MODES)
def test_each_mode(mode):
    value, expected = MODES[mode]
    found = np.asarray(convert(picture(mode, value), "here")).astype(int)
    assert found.shape == (1, 2, 3) and np.abs(found - expected).max() <= (mode == "LAB")  # littleCMS is off by one


def test_no_mode_is_left_out():
    assert set(MODES) >= set(Image.MODES)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "LA", "PA", "RGBA"])
def test_opaque_images_of_8_bits_are_those_of_pillow(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert("P" if mode == "PA" else mode).convert(mode)
    kind = "TIFF" if mode in ("CMYK", "PA") else "PNG"
    expected = np.asarray(Image.open(io.BytesIO(saved(image, kind))).convert("RGB"))
    assert np.array_equal(decode(saved(image, kind), "here"), expected)


@pytest.mark.parametrize(
    "content, expected",
    [
        (png(2, 16, 0, struct.pack(">2H", 257 * 7, 65535)), [7, 255]),
        (b"P5 2 1 65535\n" + struct.pack(">2H", 514, 65535), [2, 255]),
        (b"P5 2 1 4095\n" + struct.pack(">2H", 1365, 4095), [85, 255]),
        (b"P2 2 1 1000\n500 1000", [128, 255]),
        (b"Pf 2 1 -1.0\n" + struct.pack("<2f", 0.25, 1), [64, 255]),
        (tiff(16, struct.pack("<2H", 0, 514)), [0, 2]),
        (tiff(16, struct.pack(">2H", 0, 514), end=">"), [0, 2]),
        (tiff(16, struct.pack("<2H", 0, 514), photometric=0), [255, 253]),
        (tiff(12, b"\xff\xf0\x10"), [255, 1]),  # 4095 and 16: 16 * 255 / 4095 = 0.996
        (tiff(16, struct.pack("<2h", 16384, 32767), 2), [128, 255]),
        (tiff(8, struct.pack("<2b", 64, 127), 2), [129, 255]),  # 64 * 255 / 127 = 128.5
        (tiff(32, struct.pack("<2I", 1 << 31, (1 << 32) - 1)), [128, 255]),
        (tiff(32, struct.pack("<2i", 1 << 30, (1 << 31) - 1), 2), [128, 255]),
        (tiff(32, struct.pack("<2f", 0.25, 1), 3), [64, 255]),
        (tiff(32, struct.pack("<2f", 0.25, 1), 3, photometric=0), [191, 0]),
        (png(2, 1, 0, b"\x40", b"\0\0"), [255, 255]),  # black is transparent
        (png(2, 2, 0, b"\x60", b"\0\1"), [255, 170]),  # of the values 1 and 2
        (png(2, 4, 0, b"\x12", b"\0\1"), [255, 34]),
        (png(2, 8, 0, b"\x01\x02", b"\0\1"), [255, 2]),
        (png(2, 16, 0, struct.pack(">2H", 300, 301), struct.pack(">H", 300)), [255, 1]),
        (png(2, 16, 2, struct.pack(">6H", *[1000] * 3, *[511] * 3), struct.pack(">3H", *[1000] * 3)), [255, 1]),
        (png(2, 16, 4, struct.pack(">4H", 100 * 257, 51 * 257, 0, 0)), [224, 255]),
        (b"P6 1 1 65535\n" + struct.pack(">3H", *[511] * 3), [2]),
    ],
)
def test_files_whose_samples_are_not_of_8_bits_or_partly_transparent(content, expected):
    assert grey(content) == [expected]


def test_a_palette_with_transparency_is_laid_on_white():
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 2])
    image.putpalette([0, 0, 0, 100, 0, 255, 9, 9, 9])
    pixels = np.asarray(decode(saved(image, "PNG", transparency=b"\0\x33"), "here"))
    assert pixels.tolist() == [[[255, 255, 255], [224, 204, 255], [9, 9, 9]]]
    assert np.asarray(decode(saved(image, "PNG", transparency=2), "here"))[0, 2].tolist() == [255] * 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientations(kind, tmp_path):
    turned = {
        1: CORNERS,
        2: CORNERS[:, ::-1],
        3: CORNERS[::-1, ::-1],
        4: CORNERS[::-1],
        5: CORNERS.T,
        6: np.rot90(CORNERS, -1),
        7: CORNERS[::-1, ::-1].T,
        8: np.rot90(CORNERS),
    }
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(kind, {})
    for orientation, expected in turned.items():
        exif = Image.Exif()
        exif[274] = orientation
        content = saved(Image.fromarray(CORNERS), kind, exif=exif, **options)
        found = np.array(grey(content))
        assert found.shape == expected.shape and np.abs(found - expected).max() <= (2 if kind == "JPEG" else 0), orientation
        if kind != "TIFF":  # which Pillow turns
            (tmp_path / "a").write_bytes(content)
            as_stored = files([(str(tmp_path / "a"), "a")], upright=False).image(0)
            assert as_stored.size == (3, 2) and abs(as_stored.getpixel((0, 0))[0] - 10) <= 2


def test_spoilt_exif_does_not_spoil_an_image():
    assert grey(saved(Image.fromarray(CORNERS), "PNG", exif=b"Exif\0\0no such thing")) == CORNERS.tolist()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_the_first_frame_counts(kind):
    frames = [Image.fromarray(CORNERS).convert("RGB"), Image.new("RGB", (3, 2))]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(content)).n_frames == 2 and grey(content) == CORNERS.tolist()


@pytest.mark.parametrize(
    "content, words",
    [
        (tiff(32, struct.pack("<2f", 0.5, 255), 3), ("floats are from 0.5 to 255", "0 is black and 1 white")),
        (tiff(32, struct.pack("<2f", -0.5, 1), 3), ("from -0.5 to 1",)),
        (tiff(32, struct.pack("<2f", 0, float("nan")), 3), ("not all numbers",)),
        (tiff(32, struct.pack("<2f", 0, float("inf")), 3), ("to inf",)),
        (tiff(32, struct.pack("<2f", 0, 0.001), 3), ("all become black",)),
        (tiff(16, struct.pack("<2h", -5, 100), 2), ("16-bit signed integers are from -5 to 100", "32767 white")),
        (tiff(8, struct.pack("<2b", -5, 100), 2), ("8-bit signed integers are from -5 to 100",)),
        (tiff(32, struct.pack("<2i", 0, 65535), 2), ("from 0 to 65535, so that all become black", "save 8 or 16 bits")),
        (tiff(64, struct.pack("<2d", 0, 1), 3), ("a kind of TIFF that Pillow does not know", "save it as a PNG")),
        (b"", ("it is no image", "remove it")),
        (saved(NOISE, "TIFF")[:900], ("truncated", "remove or replace it")),
        (saved(NOISE, "PNG")[:900], ("truncated", "remove or replace it")),
        (saved(NOISE, "JPEG")[:900], ("truncated", "remove or replace it")),
        (saved(NOISE, "WEBP")[:900], ("cannot read the image", "remove or replace it")),
    ],
)
def test_files_that_no_rule_fits_are_refused(content, words):
    refused(lambda: decode(content, "here"), "here", *words)


@pytest.mark.parametrize("size, kind", [(8, "png"), (72, "png"), (8, "tif"), (8, "pgm")])
def test_a_folder_of_16_bits_keeps_its_classes_apart(size, kind, tmp_path):
    """10000 and 40000 become 39 and 156, 10257 and 40257 become 40 and 157."""
    name = deep_folder(tmp_path, size, kind=kind)
    data = open_dataset(name, workers=0, image_size=None if size == 8 else size)
    data.load()
    assert data.mean == pytest.approx([(39 + 40 + 156 + 157) / 4 / 255] * 3, abs=0.02)
    [(images, labels)] = data.test_batches(9)
    levels = images[:, 0, 0, 0] * data.std[0] + data.mean[0]
    assert torch.allclose(levels * 255, torch.tensor([40.0, 40, 157, 157])) and labels.tolist() == [0, 0, 1, 1]


def test_invisible_images_are_refused_and_faint_ones_get_a_warning(tmp_path, capsys):
    faint = open_dataset(deep_folder(tmp_path / "faint", 8, 257, 0))
    faint.load()
    assert "WARNING: the training images of folder:" in (out := capsys.readouterr().out) and "0.5 of 255 grey levels only" in out
    for index, part in enumerate(("train", "test")):
        for name in ("ant", "bee"):
            for path in (tmp_path / "faint" / part / name).iterdir():
                Image.fromarray(np.full((8, 8), 100 + index, np.uint16)).save(path)
    refused(open_dataset(f"folder:{tmp_path / 'faint'}").load, "all pixels", "0/0/0 of 255", "16 bits")


def test_the_first_refused_file_of_a_folder_is_named(tmp_path):
    name = deep_folder(tmp_path, 8, kind="tif")
    for index in (1, 2):
        Image.fromarray(np.full((8, 8), 200, np.float32)).save(tmp_path / "train/bee" / f"{index}.tif")
    for size in (None, 4):
        refused(lambda size=size: open_dataset(name, image_size=size), tmp_path / "train/bee/1.tif", "floats are from 200 to 200")


def test_sets_of_torchvision_and_archives_follow_the_rules(tmp_path):
    deep, wild = Image.new("I;16", (1, 1), 25700), Image.new("F", (1, 1), 9)
    images = SetImages([(deep, 0), (wild, 0)], "RGB")
    assert images.image(0).getpixel((0, 0)) == (100, 100, 100)
    refused(lambda: images.image(1), "image 1 of torchvision.datasets.list", "from 9 to 9")
    assert SetImages([(deep, 0)], "L").image(0).getpixel((0, 0)) == 100
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr("b.png", png(1, 16, 0, struct.pack(">H", 25700)))
    assert ZipMembers(tmp_path / "a.zip", ["b.png"]).image(0).getpixel((0, 0)) == (100, 100, 100)
