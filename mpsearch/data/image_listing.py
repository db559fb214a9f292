"""`ImageListing`: the images of a folder tree with one folder a class, found without opening one.

torchvision's `ImageFolder` is not used underneath: it sorts nested folders as path strings, separator included, so that the same tree has
another order of samples, and with it other splits, on Windows. It also takes hidden folders for classes and hidden files for images, and
accepts a single class. Which extensions are images is torchvision's own list.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.errors import DataError
from mpsearch.core.files import is_folder

__all__ = ["ImageListing", "list_images"]

_LAYOUT = "DIR/train/<class>/*.jpg and DIR/test/<class>/*.jpg, or DIR/<class>/*.jpg"


@dataclass(frozen=True, kw_only=True)
class ImageListing:
    """Images of all parts, one after the other; splits are made of positions in it.

    Args:
        root: the folder.
        classes: folder names in alphabetical order.
        files: paths relative to `root`, N of them.
        targets: int64 `[N]` class of each.
        parts: name (`train`, `validation`, `test`) → positions; only parts with a folder of their own.
        content: digest of paths and sizes; a copy of the folder has the same one.
        state: digest of paths, sizes and modification times.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]
    targets: NDArray[np.int64]
    parts: dict[str, NDArray[np.int64]]
    content: str
    state: str


def list_images(root: Path) -> ImageListing:
    """List the images under `train/` and `test/` or `val/`, or in `DIR/<class>/`; beside `test/`, `val/` is the validation split.

    Raises:
        DataError: there is no folder, there are fewer than two classes, a class has no images, or the parts have different classes.
    """
    if not is_folder(root):
        raise DataError(f"there is no folder '{root}'; give one laid out as {_LAYOUT}")
    folders = _part_folders(root)
    classes = _class_names(folders["train"])
    content, state = hashlib.sha256(), hashlib.sha256()
    files: list[str] = []
    targets: list[int] = []
    parts: dict[str, NDArray[np.int64]] = {}
    for part, folder in folders.items():
        found = classes if part == "train" else _class_names(folder)
        if found != classes:
            odd = sorted(set(found) ^ set(classes))
            named = ", ".join(odd[:5]) + (", …" if len(odd) > 5 else "")
            raise DataError(f"'{folders['train']}' and '{folder}' must hold the same classes; in one only: {named}")
        first = len(files)
        for index, name in enumerate(classes):
            before = len(files)
            for file in _images(folder / name):
                relative, status = _checked(file, root)
                content.update(f"{relative}\0{status.st_size}\n".encode())
                state.update(f"{relative}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
                files.append(relative)
                targets.append(index)
            if len(files) == before:
                raise DataError(
                    f"the class folder '{folder / name}' holds no images; add some ({', '.join(_extensions())}) or remove the folder"
                )
        parts[part] = np.arange(first, len(files))
    return ImageListing(
        root=root,
        classes=classes,
        files=tuple(files),
        targets=np.array(targets, dtype=np.int64),
        parts=parts,
        content=content.hexdigest()[:16],
        state=state.hexdigest()[:16],
    )


def _checked(file: Path, root: Path) -> tuple[str, os.stat_result]:
    """The path below `root`, and the status, of an image that can be read.

    Raises:
        DataError: it is a link to nothing or no regular file, or its name is not UTF-8.
    """
    relative = file.relative_to(root).as_posix()
    try:
        relative.encode()
        status = file.stat()
    except UnicodeEncodeError as error:
        raise DataError(f"the name of the image {os.fsencode(file)!r} is not UTF-8; rename it") from error
    except OSError as error:
        raise DataError(f"the image '{file}' cannot be read ({error.strerror}); mend the link or remove it") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"'{file}' is no regular file; remove it")
    return relative, status


def _part_folders(root: Path) -> dict[str, Path]:
    train, test, val = root / "train", root / "test", root / "val"
    if not train.is_dir():
        if test.is_dir() or val.is_dir():
            raise DataError(f"'{root}' has no folder 'train'; lay it out as {_LAYOUT}")
        return {"train": root}
    if test.is_dir() and val.is_dir():
        return {"train": train, "validation": val, "test": test}
    held_out = test if test.is_dir() else val
    return {"train": train, "test": held_out} if held_out.is_dir() else {"train": train}


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")))
    if not names:
        raise DataError(f"'{folder}' holds no class folders; lay the images out as {_LAYOUT}")
    if len(names) == 1:
        raise DataError(f"'{folder}' holds one class only, '{names[0]}'; classification needs at least two class folders")
    return names


def _images(folder: Path) -> Iterator[Path]:
    """Files of a folder before those of its subfolders, both by name: an order that does not depend on the path separator.

    Links are followed, but no folder is entered twice.
    """
    from torchvision.datasets.folder import has_file_allowed_extension

    extensions = _extensions()
    entered: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_unreadable):
        status = os.stat(parent)
        if (place := (status.st_dev, status.st_ino)) in entered:
            folders.clear()
            continue
        entered.add(place)
        folders.sort()
        for name in sorted(names):
            if has_file_allowed_extension(name, extensions) and not name.startswith("."):
                yield Path(parent, name)


def _unreadable(error: OSError) -> None:
    raise DataError(f"the folder '{error.filename}' cannot be read ({error.strerror}); mend its permissions or remove it") from error


def _extensions() -> tuple[str, ...]:
    from torchvision.datasets.folder import IMG_EXTENSIONS

    return tuple(IMG_EXTENSIONS)
