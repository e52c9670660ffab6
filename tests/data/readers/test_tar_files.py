"""A tar of class folders, and shards of webdataset, are read in place."""

from pathlib import Path

import numpy as np
import pytest
from set_files import assert_set, images_of, write
from small_sets import LABELS, PIXELS, SETS, class_folders, png, shard, tar


@pytest.mark.parametrize("packed", [False, True], ids=["tar", "tar.gz"])
def test_class_folders_in_a_tar_are_read_in_place(packed: bool, tmp_path: Path):
    path = tmp_path / f"set.tar{'.gz' if packed else ''}"
    path.write_bytes(SETS["tar.gz" if packed else "tar"]())
    images = images_of(path)
    assert_set(images, PIXELS, LABELS)
    assert images.class_names == ("class0", "class1", "class2")
    folder = images_of(write(tmp_path / "folder", **class_folders()))
    assert folder.fingerprint == images.fingerprint
    assert {each.name for each in tmp_path.iterdir()} == {"cache", "folder", path.name}


def test_shards_of_webdataset_are_one_set_with_the_splits_of_their_names(tmp_path: Path):
    shards = {"train-000000.tar": range(0, 4), "train-000001.tar": range(4, 8), "val-000000.tar": range(8, 12)}
    root = write(tmp_path / "set", **{name: tar(shard(rows)) for name, rows in shards.items()})
    assert_set(images_of(root), PIXELS, LABELS)
    assert_set(images_of(root, "train"), PIXELS[:8], LABELS[:8])
    assert_set(images_of(root, "test"), PIXELS[8:], LABELS[8:])
    assert images_of(root).class_names == ("0", "1", "2")
    assert images_of(root, labels="none").class_names == ()


def test_labels_of_a_shard_are_in_cls_or_json_and_each_image_has_one(tmp_path: Path):
    files = {f"{i}.png": png(i) for i in range(3)} | {f"{i}.json": b'{"label": "c%d"}' % i for i in range(3)}
    path = tmp_path / "set.tar"
    path.write_bytes(tar(files))
    assert images_of(path).class_names == ("c0", "c1", "c2")
    path.write_bytes(tar({name: blob for name, blob in files.items() if name != "1.json"}))
    with pytest.raises(ValueError, match=r"1\.png has no label in a \.cls or \.json"):
        images_of(path)


def test_tars_that_are_named_after_classes_are_the_classes(tmp_path: Path):
    root = write(tmp_path / "set", **{f"n0{n}.tar": tar({f"x{i}.png": png(i) for i in (n, n + 1)}) for n in (0, 2)})
    assert images_of(root).class_names == ("n00", "n02")
    same = write(tmp_path / "same", **{f"{n}.tar": tar({"x.png": png(n)}) for n in range(3)})
    assert_set(images_of(same), PIXELS[[1, 2, 0]], np.zeros(3, int))  # 1-x.png, 2-x.png, x.png


def test_a_name_that_leads_out_of_a_tar_and_a_tar_that_is_cut_are_refused(tmp_path: Path):
    path = tmp_path / "set.tar"
    path.write_bytes(tar({"a.png": png(0), "../b.png": png(1)}))
    with pytest.raises(ValueError, match=r"\.\./b\.png: its name leads out of the tar"):
        images_of(path)
    path.write_bytes(tar({"a.png": png(0), "b.png": png(1)})[:1600])
    with pytest.raises(ValueError, match=r"set\.tar"):
        images_of(path)
    assert [each.name for each in tmp_path.iterdir() if each.name != "cache"] == ["set.tar"]
