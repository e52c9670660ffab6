"""Labels that a table holds: they identify the set, and the table is found from any folder."""

from pathlib import Path

from listed_files import PNG, folder_of, scan

from limpid.data import Folder
from limpid.data.readers.scan import scan_folder
from limpid.recipes.recipe import Recipe, with_absolute_root


def test_labels_and_splits_that_no_folder_shows_belong_to_what_identifies_the_set(tmp_path: Path):
    files = {"cat/a.png": PNG, "dog/b.png": PNG}

    def content(number: int, more: dict[str, bytes], labels: str = "") -> object:
        (tmp_path / str(number)).mkdir()
        return scan("folder", tmp_path / str(number), files | more, labels).content

    by_folder = content(0, {})
    tables = [f"id,label\na,{a}\nb,{b}\n".encode() for a, b in ("xy", "yx")]
    found = [by_folder, *(content(i, {"t.csv": blob}, "t.csv") for i, blob in enumerate(tables, 1))]
    assert len(set(found)) == 3
    assert content(3, {}, "folders") == by_folder


def test_the_path_of_a_table_elsewhere_is_made_absolute_so_that_a_run_resumes_from_any_folder(
    tmp_path: Path, monkeypatch
):
    folder_of(tmp_path, {"a.png": PNG, "inside.csv": b"id,label\na,1\n"})
    (tmp_path / "here" / "tables").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    Path("tables/t.csv").write_bytes(b"id,label\na,1\n")
    for labels, expected in (
        ("tables/t.csv:label", f"{tmp_path}/here/tables/t.csv:label"),
        ("inside.csv", "inside.csv"),
        ("prefix", "prefix"),
        ("", ""),
    ):
        recipe = with_absolute_root(Recipe(data=Folder(f"{tmp_path}/set", labels=labels)))
        assert recipe.data == Folder(str(tmp_path / "set"), labels=expected)
    assert scan_folder(tmp_path / "set", f"{tmp_path}/here/tables/t.csv:label").classes == ("1",)
