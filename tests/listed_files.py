"""Files in a folder or a zip, and the listing of the images among them."""

import io
import zipfile
from pathlib import Path

from PIL import Image

from limpid.data.readers.listing import ImageListing
from limpid.data.readers.scan import scan_folder
from limpid.data.readers.zip_files import scan_zip


def encoded(format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, format, **options)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


PNG = encoded("PNG")


def scan(form: str, tmp_path: Path, files: dict[str, bytes], labels: str = "") -> ImageListing:
    """The listing of files in a folder, or in a zip."""
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for name, blob in files.items():
                archive.writestr(name, blob)
        return scan_zip(tmp_path / "set.zip", labels)
    for name, blob in files.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(blob)
    return scan_folder(tmp_path / "set", labels)


def folder_of(tmp_path: Path, files: dict[str, bytes]) -> Path:
    """A folder that holds these files."""
    scan("folder", tmp_path, files)
    return tmp_path / "set"
