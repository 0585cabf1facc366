"""Decoding of image files."""

from trees import save

from Utils.data import image_files


def test_many_slices_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "_SLICE", 1)
    for index in range(40):
        save(tmp_path / f"{index:02d}.png", (4, 4), index)
    source = image_files.Files([str(tmp_path / f"{index:02d}.png") for index in range(40)])
    for size in (None, (4, 4), (2, 2)):
        assert image_files.read_small(source, size, "x")[:, 0, -1, -1].tolist() == list(range(40))
