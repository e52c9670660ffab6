"""Safe access to untrusted files: only regular files, of bounded size, and never written through a link."""

import errno
import os
import stat
from pathlib import Path

FILE_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def require_regular(path: Path | str) -> None:
    """Raise ValueError for a pipe, a device or a folder, which could be read without end.

    Raises OSError if there is no such file.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)
    if kind != stat.S_IFREG:
        raise ValueError(f"{path} is {FILE_KINDS.get(kind, 'something else')}: expected a file")


def read_bytes(path: Path | str, longest: int) -> bytes:
    """All bytes of a regular file. Raises ValueError if it is not regular, or has more than `longest` bytes."""
    require_regular(path)
    with Path(path).open("rb") as file:
        content = file.read(longest + 1)
    if len(content) > longest:
        raise ValueError(f"{path} is longer than {longest:,} bytes")
    return content


def open_unlinked(path: Path | str, flags: int) -> int:
    """A descriptor of a file that is written in place, created if needed.

    Raises ValueError if it is a symbolic link, has a second hard link, or is not regular: in a folder from another
    person, writing to it could change a file outside of the folder.
    """
    flags |= os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        file = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"{path} is a link: nothing is written through one, remove it") from error
        if error.errno == errno.ENXIO:
            raise ValueError(f"{path} is a pipe or a socket: expected a file") from error
        raise
    about = os.fstat(file)
    if stat.S_ISREG(about.st_mode) and about.st_nlink <= 1:
        return file
    os.close(file)
    if stat.S_ISREG(about.st_mode):
        raise ValueError(f"{path} is also a file elsewhere, by a hard link: nothing is written through one, remove it")
    raise ValueError(f"{path} is {FILE_KINDS.get(stat.S_IFMT(about.st_mode), 'something else')}: expected a file")


def refuse_linked_folders(folder: Path) -> None:
    """Raise ValueError if a folder inside of this one is a link: files in it would be written somewhere else.

    The folder itself may be a link, since the user has named it.
    """
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            if Path(parent, name).is_symlink():
                raise ValueError(
                    f"{Path(parent, name)} is a link to a folder: nothing is written through one, remove it"
                )
