"""The cause for which a file is no readable checkpoint, in the words of the one who saved or downloaded it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from Utils.base.text import one_line

HEAD = 512  # bytes of a file that tell its kind
LONGEST = 160  # letters of an error of torch's that are shown
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")
MAGIC = (
    (b"\x1f\x8b", "is a gzip archive: unpack it first"),
    (b"BZh", "is a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "is an xz archive: unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is a zstd archive: unpack it first"),
    (b"Rar!", "is a rar archive: unpack it first"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes it, not one of torch.save"),
    (b"\x93NUMPY", "is an array of NumPy, not a file of torch.save"),
    (b"\x89PNG", "is an image (PNG)"),
    (b"\xff\xd8\xff", "is an image (JPEG)"),
    (b"%PDF", "is a PDF document"),
    (b"version https://git-lfs", "is a pointer of Git LFS to the file, not the file itself: git lfs pull"),
)
ZIP = b"PK\x03\x04"  # the beginning of an archive of torch.save
OLD = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the number with which torch's format before 1.6 begins, after the pickle protocol
WHOLE = "save its weights with torch.save(model.state_dict(), FILE)"


def cause_of(file: Path, error: Exception) -> str:
    """Say why `torch.load` raised `error` on `file`: a verb and what follows, in one line."""
    size = file.stat().st_size
    with open(file, "rb") as stream:
        head = stream.read(HEAD)
    if not size:
        return "is empty (0 bytes): it was not written, or not downloaded"
    if head.lstrip().lower().startswith(PAGES):
        return "is an HTML page, not a checkpoint: the download gave the page of a login, an error or a quota; download it again"
    if found := next((words for magic, words in MAGIC if head.startswith(magic)), ""):
        return found
    if ZIP.startswith(head[:4]):
        return _zip_cause(file, size, error)
    if head[257:262] == b"ustar":
        return "is a tar archive: unpack it first"
    if head[2:].startswith(OLD):
        return _pickle_cause(error) or f"is cut off or damaged ({size} bytes): it was not written or copied to its end"
    if head[0] == 0x80 and len(head) > 1 and head[1] <= 5:
        return "is a pickle that torch.save did not write: load it where it was made, and save its tensors with torch.save"
    if head[8:10] == b'{"' and (header := int.from_bytes(head[:8], "little")) > size - 8:
        return f"is cut off or damaged ({size} bytes): it begins like a file of safetensors, of which the header has {header}"
    if _is_text(head):
        return f"is a text file, not a checkpoint (it begins {one_line(head[:30].decode('utf-8', 'replace'))!r})"
    return f"is not a file of torch.save (it begins with the bytes {head[:8].hex(' ')})"


def _zip_cause(file: Path, size: int, error: Exception) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
                return (
                    "is a TorchScript archive (torch.jit.save), which holds code: "
                    "save its weights with torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
                )
            if any(name.endswith(".npy") for name in names):
                return "is an archive of NumPy arrays (.npz), not a file of torch.save"
            if not any(name.rpartition("/")[2] == "data.pkl" for name in names):
                return f"is a zip archive that torch.save did not write (it holds {', '.join(names[:3]) or 'nothing'})"
            if broken := archive.testzip():
                return f"is damaged: its part {broken} does not have the checksum that was written"
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError):
        return f"is cut off or damaged ({size} bytes): it begins like a file of torch.save and does not end like one"
    return _pickle_cause(error) or f"is damaged ({_first_line(error)})"


def _pickle_cause(error: Exception) -> str:
    """Say what in a whole file could not be read; "" if the error does not tell."""
    text = _first_line(error)
    if blocked := re.search(r"unsupported GLOBAL (\S+) whose module", text):
        return f"would run {blocked[1]} when it is loaded"
    if "persistent_load" in text:
        return f"holds a whole network in the old format, not its weights: {WHOLE}"
    if "Unsupported operand" in text:
        return f"has a pickle that torch's safe reader does not know ({text}): save it with pickle_protocol=2, as torch.save does"
    if re.search(r"Can only|Only persistent_load|unrecognized function|subclass", text):
        return f"holds objects that cannot be read without running code ({text})"
    return ""


def _first_line(error: Exception) -> str:
    """Return the first line of an error; of torch's advice to load the file without protection, only its reason."""
    reason = re.search(r"(?:WeightsUnpickler error:|from a trusted source\.)\s+(?!Please)(.+)", str(error))
    found = one_line(reason[1] if reason else next(iter(str(error).splitlines()), ""))
    return (found if len(found) <= LONGEST else found[: LONGEST - 3] + "...") or type(error).__name__


def _is_text(head: bytes) -> bool:
    text = head[: len(head) - 4 if len(head) == HEAD else None].decode("utf-8", "replace")  # HEAD may split a letter
    return all(letter.isprintable() or letter.isspace() for letter in text) and "\ufffd" not in text
