"""Which files are images, which folders are classes or splits, and what is left out: of a folder as of a zip."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from listed_files import PNG, scan

from limpid.data.readers.listing import ImageListing


def assigned(listing: ImageListing) -> list[str]:
    """Each image with its class and its split, if it has any."""
    classes = [listing.classes[label] for label in listing.labels] if listing.classes else [""] * len(listing.names)
    splits = listing.splits or [None] * len(listing.names)
    return [" ".join(filter(None, row)) for row in zip(map(str, listing.names), classes, splits, strict=True)]


@dataclass(frozen=True)
class Row:
    """A set as people have it, and how it is understood."""

    images: str
    """The names of the images that are read, each with its class and its split, if it has any; one on a line."""
    others: dict[str, bytes]
    """Other files."""
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    labels: str = ""

    @property
    def expected(self) -> list[str]:
        return [line.strip() for line in self.images.strip().splitlines()]

    @property
    def files(self) -> dict[str, bytes]:
        return {line.split()[0]: PNG for line in self.expected} | self.others


SHARDS = ("00000/img00000000.png", "00000/img00000999.png", "00001/img00001000.png")
CATS = "cat/a.png cat \n cat/b.png cat \n dog/c.png dog \n dog/d.png dog"
NAMES = "a1.png cat \n b2.png dog \n c3.png cat"
TABLE = b"id;breed;age\nc3;cat;1\na1;cat;2\nb2;dog;3\n"

BREEDS = sorted(f"{breed}_{i}.png" for breed in ("big_cat", "big_dog") for i in range(10))


def dataset_json(labels: Sequence[object] | None, folder: str = "") -> dict[str, bytes]:
    pairs = labels and [[name, label] for name, label in zip(SHARDS, labels, strict=True)]
    return {f"{folder}dataset.json": json.dumps({"labels": pairs}).encode()}


def lines(*labels: str, folder: str = "") -> str:
    """The images of the shards with these labels."""
    return "\n".join(f"{folder}{name} {label}".strip() for name, label in zip(SHARDS, labels, strict=True))


ROWS = {
    "train, val and test are splits": Row(
        "test/cat/a.png cat test \n train/cat/b.png cat train \n train/dog/c.png dog train \n val/dog/d.png dog val", {}
    ),
    "Training and TESTING are splits": Row("TESTING/a.png test \n Training/b.png train", {}),
    "validation is val": Row("train/a.png train \n validation/b.png val", {}),
    "valid is val": Row("TRAIN/a.png train \n Valid/b.png val", {}),
    "dev is val": Row("dev/b.png val \n train/a.png train", {}),
    "splits below one folder": Row(
        "x/test/cat/a.png cat test \n x/train/cat/b.png cat train \n x/train/dog/c.png dog train", {}
    ),
    "a class may be called train": Row("car/a.png car \n plane/b.png plane \n train/c.png train", {}),
    "one split alone is a folder": Row("train/cat/a.png cat \n train/dog/b.png dog", {}),
    "images outside of the splits are left out": Row(
        "test/a.png test \n train/b.png train",
        {"extra/c.png": PNG, "d.png": PNG},
        ("2 images outside of test and train (d.png, extra/c.png)",),
    ),
    "a split without labels is left out": Row(
        "train/cat/a.png cat \n train/dog/b.png dog",
        {"test/1.png": PNG, "test/2.png": PNG},
        ("2 images of test, which has no folders of classes (test/1.png, test/2.png)",),
        ("images are held out by their names: what is left is all of the split train",),
    ),
    "dataset.json with whole numbers": Row(
        lines("7", "0", "7"), dataset_json([7, 0, 7]), (), ("labels from dataset.json",)
    ),
    "dataset.json with one-hot vectors": Row(
        lines("1", "0", "1"), dataset_json([[0, 1], [1.0, 0.0], [0, 1]]), (), ("labels from dataset.json",)
    ),
    "dataset.json without labels": Row(
        lines("", "", ""), dataset_json(None), (), ("no classes: dataset.json has no labels",)
    ),
    "dataset.json with other vectors": Row(
        lines("", "", ""),
        dataset_json([[0.5, 1.5]] * 3),
        (),
        ("no classes: the labels of dataset.json are vectors, and not one-hot",),
    ),
    "dataset.json in a folder of the set": Row(
        lines("1", "0", "1", folder="x/"), dataset_json([1, 0, 1], "x/"), (), ("labels from x/dataset.json",)
    ),
    "an image without a label in dataset.json is left out": Row(
        lines("1", "0", "1"),
        {**dataset_json([1, 0, 1]), "00001/img00001001.png": PNG},
        ("1 image without a label in dataset.json (00001/img00001001.png)",),
        ("labels from dataset.json",),
    ),
    "shards of EDM are no classes": Row(lines("", "", ""), {}, (), ("no classes: its folders are numbered shards",)),
    "shards of FFHQ are no classes": Row(
        "00000/00000.png \n 12000/12345.png", {}, (), ("no classes: its folders are numbered shards",)
    ),
    "numbered folders of other images are classes": Row("00000/00000_1.png 00000 \n 00001/00000_1.png 00001", {}),
    "metadata.csv": Row(
        "a.png cat \n x/b.png dog",
        {"metadata.csv": b"file_name,label,text\na.png,cat,one\nx/b.png,dog,two\n"},
        (),
        ("labels from metadata.csv, column label",),
    ),
    "metadata.jsonl of each split": Row(
        "test/a.png 0 test \n train/a.png 10 train \n train/b.png 2 train",
        {
            "train/metadata.jsonl": b'{"file_name": "a.png", "label": 10}\n{"label": 2, "file_name": "b.png"}\n',
            "test/metadata.jsonl": b'{"file_name": "a.png", "label": 0}\n',
        },
        (),
        ("labels from test/metadata.jsonl, column label", "labels from train/metadata.jsonl, column label"),
    ),
    "metadata.csv of captions leaves the folders": Row(
        CATS,
        {"metadata.csv": b"file_name,text\ncat/a.png,one\n"},
        ("1 table whose labels are not used (metadata.csv)",),
    ),
    "a table with a column that is called label": Row(
        NAMES,
        {"t.csv": b"\xef\xbb\xbfx,label,filename\n1,cat,a1.png\n2,dog,b2.png\n1,cat,c3.png\n"},
        (),
        ("labels from t.csv, column label",),
        "t.csv",
    ),
    "a table with a column that is named": Row(
        NAMES, {"t.csv": TABLE}, (), ("labels from t.csv, column breed",), "t.csv:breed"
    ),
    "a table with both columns named": Row(
        NAMES, {"t.csv": TABLE}, (), ("labels from t.csv, column breed",), "t.csv:ID:Breed"
    ),
    "a table of two columns": Row(
        "x/1.png 0 \n x/2.png 1 \n y/3.png 10",
        {"t.tsv": b"number\timage_id\r\n10\t3.png\r\n0\t1.png\r\n1\t2.png\r\n", "x/4.png": PNG},
        ("1 image without a label in t.tsv, column number (x/4.png)",),
        ("labels from t.tsv, column number",),
        "t.tsv",
    ),
    "the prefix of the name": Row(
        "x/cat_1.png cat \n x/dog_2_3.png dog \n y/cat_4.png cat",
        {},
        (),
        ("labels from the names of files, up to the first _",),
        "prefix",
    ),
    "the name without the number at its end": Row(
        "x/big_dog_1.png big_dog \n x/big_dog_12.png big_dog \n x/cat_4.png cat",
        {},
        (),
        ("labels from the names of files, without the number at the end",),
        "numbered",
    ),
    "a prefix that merges what numbered tells apart": Row(
        "\n".join(f"{name} big" for name in BREEDS),
        {},
        (),
        (
            "labels from the names of files, up to the first _",
            "--data.labels numbered takes more of the names, up to the number: 2 classes",
        ),
        "prefix",
    ),
    "names that begin with few words": Row(
        "\n".join(BREEDS),
        {},
        (),
        ("if the 2 words that names begin with (big_cat, big_dog) are classes: --data.labels numbered",),
    ),
    "no classes on request": Row("cat/a.png \n dog/b.png", {}, labels="none"),
    "folders on request": Row(
        CATS, dataset_json(None), ("1 table whose labels are not used (dataset.json)",), labels="folders"
    ),
    "a stray image beside class folders": Row(
        CATS, {"preview.png": PNG}, ("1 image in no folder of a class (preview.png)",)
    ),
    "many stray images": Row(
        "a.png \n b.png \n cat/c.png \n dog/d.png", {}, (), ("no classes: 2 of 4 images are in no folder of a class",)
    ),
    "thumbnails of a Synology": Row(
        CATS,
        {"@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg": PNG, "cat/@eaDir/x.jpg": PNG},
        ("2 thumbnails of a Synology, in @eaDir (@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg, cat/@eaDir/x.jpg)",),
    ),
    "other files": Row(
        CATS,
        {"train.csv": b"", "b.txt": b"", "LICENSE": b"", **{f"cat/{i}.xml": b"" for i in range(4)}},
        (
            "4 .xml files (cat/0.xml, cat/1.xml, cat/2.xml, ...)",
            "1 .csv file (train.csv)",
            "1 .txt file (b.txt)",
            "1 other file (LICENSE)",
        ),
    ),
    "a table that nobody named": Row(
        "a.png",
        {"train.csv": b"id,x\n"},
        ("1 .csv file (train.csv)",),
        ("if train.csv holds labels, they are read with --data.labels train.csv",),
    ),
}


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("name", ROWS)
def test_a_set_is_understood_as_people_have_it(name: str, form: str, tmp_path: Path):
    row = ROWS[name]
    listing = scan(form, tmp_path, row.files, row.labels)
    assert assigned(listing) == row.expected
    assert sorted(map(str, listing.left_out)) == sorted(row.left_out)
    assert listing.notes == row.notes
    assert listing.refused == ()


def test_backslashes_in_the_names_of_a_zip_are_folders(tmp_path: Path):
    files = {f"x\\{line.split()[0]}".replace("/", "\\"): PNG for line in CATS.splitlines()}
    assert scan("zip", tmp_path, files).classes == ("cat", "dog")


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize(
    ("files", "labels", "message"),
    [
        (("images/a.png", "masks/a.png"), "", r"images/ beside masks/: name the folder .*, --data.root .*/images"),
        (("x/images/a.png", "x/annotations/trimaps/a.png"), "", r"x/images/ beside x/annotations/: .*/x/images"),
        (("train/images/a.png", "train/masks/a.png", "val/images/a.png"), "", "train/images/ beside train/masks/"),
        (("JPEGImages/a.png", "SegmentationClass/a.png"), "", "JPEGImages/ beside SegmentationClass/"),
        (("a.png", "b_1.png"), "prefix", "the name of a.png has no underscore"),
        (("a_1.png", "b_c.png"), "numbered", "b_c.png is called otherwise: expected CLASS_NUMBER"),
        (("a.png",), "t.csv", "which column of t.csv holds the labels[?] Name one, t.csv:COLUMN, of x, y2"),
        (("a.png",), "t.csv:z", "no column z in t.csv: it has id, x, y2"),
        (("b.png",), "t.csv", "no column of t.csv holds the names .*: it has id, x, y2, and an image is called b"),
        (("a.png",), "u.csv", "cannot read the labels in u.csv: there is no such file"),
        (("a.png",), "two.csv", "a has two labels in two.csv, column label: 1 and 2"),
        (("x/a.png", "y/a.png"), "one.csv", "a in one.csv, column label may be any of several images"),
        (("a.png",), "csv", "labels csv: expected none, folders, prefix, numbered, or a table, named .csv, .tsv, "),
        (("a.png",), "bad.csv", "cannot read bad.csv: its first line does not name two or more columns"),
        (("a.png",), "bad.jsonl", "cannot read bad.jsonl: Expecting value"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_with_what_to_do(
    files: tuple[str, ...], labels: str, message: str, form: str, tmp_path: Path
):
    tables = {"t.csv": b"id,x,y2\na,1,2\n", "two.csv": b"id,label\na,1\na,2\n", "one.csv": b"id,label\na,1\n"}
    broken = {"bad.csv": b"id\na\n", "bad.jsonl": b"id\n"}
    with pytest.raises(ValueError, match=message) as error:
        scan(form, tmp_path, dict.fromkeys(files, PNG) | tables | broken, labels)
    assert str(error.value).isprintable()
