from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from mpsearch.core.errors import DataError
from mpsearch.data.image_listing import list_images


def touch(root: Path, *names: str, content: bytes = b"x") -> Path:
    """Files that are never opened: a listing goes by names."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


def test_every_extension_of_torchvision_counts_whatever_its_case(tmp_path: Path) -> None:
    wanted = [f"ant/1{suffix}" for suffix in IMG_EXTENSIONS] + ["ant/2.JPG"]
    touch(tmp_path, *wanted, "ant/notes.txt", "ant/jpg", "bee/1.png")
    listing = list_images(tmp_path)
    assert sorted(listing.files) == sorted([*wanted, "bee/1.png"])
    assert listing.classes == ("ant", "bee")
    assert listing.targets.tolist() == [0] * len(wanted) + [1]


def test_the_samples_are_those_of_image_folder(tmp_path: Path) -> None:
    touch(tmp_path, "cow/2.png", "cow/10.png", "ant/b/1.png", "ant/a/2.png", "ant/0.png", "Bee/x.jpeg")
    theirs = ImageFolder(tmp_path, loader=str)
    ours = list_images(tmp_path)
    assert list(ours.classes) == theirs.classes
    assert [(str(tmp_path / file), target) for file, target in zip(ours.files, ours.targets.tolist(), strict=True)] == theirs.samples


def test_the_order_does_not_depend_on_the_path_separator(tmp_path: Path) -> None:
    """`-` sorts before `/` and `B` before a backslash: as strings the order would be one here and another on Windows."""
    touch(tmp_path, "ant/a/x/1.png", "ant/a-b/2.png", "ant/aB/3.png", "ant/0.png", "bee/1.png")
    ours = list_images(tmp_path).files
    assert ours == ("ant/0.png", "ant/a/x/1.png", "ant/a-b/2.png", "ant/aB/3.png", "bee/1.png")
    theirs = [Path(file).relative_to(tmp_path).as_posix() for file, _ in ImageFolder(tmp_path, loader=str).samples]
    assert theirs != list(ours), "torchvision orders as we do now: build on its ImageFolder"


def test_hidden_files_and_folders_are_none(tmp_path: Path) -> None:
    touch(tmp_path, "ant/1.png", "ant/._1.png", "bee/1.png", ".git/1.png")
    assert list_images(tmp_path).files == ("ant/1.png", "bee/1.png")
    assert len(ImageFolder(tmp_path, loader=str).classes) == 3


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.png")
    touch(tmp_path / "d", "ant/0.png", "bee/1.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "d" / "ant" / "more")
    assert list_images(tmp_path / "d").files == ("ant/0.png", "ant/more/1.png", "bee/1.png")


def test_parts_are_ranges_of_the_listing(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{part}/{name}/{n}.png" for part in ("train", "val", "test") for name in ("ant", "bee") for n in range(2)))
    listing = list_images(tmp_path)
    assert {name: rows.tolist() for name, rows in listing.parts.items()} == {
        "train": [0, 1, 2, 3],
        "validation": [4, 5, 6, 7],
        "test": [8, 9, 10, 11],
    }
    assert [listing.files[row].split("/")[0] for row in listing.parts["validation"]] == ["val"] * 4


def test_digests_of_content_and_of_state(tmp_path: Path) -> None:
    root = touch(tmp_path / "d", "ant/1.png", "bee/1.png")
    first = list_images(root)
    assert first.content == list_images(root).content
    assert first.state == list_images(root).state
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    os.utime(copy / "ant" / "1.png", ns=(1, 1))
    moved = list_images(copy)
    assert (moved.content == first.content, moved.state == first.state) == (True, False)
    touch(root, "ant/1.png", content=b"longer")
    assert list_images(root).content != first.content


def refused(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        list_images(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_refused(tmp_path: Path) -> None:
    layout = "DIR/train/<class>/*.jpg and DIR/test/<class>/*.jpg, or DIR/<class>/*.jpg"
    assert refused(tmp_path / "no") == f"there is no folder '{tmp_path / 'no'}'; give one laid out as {layout}"
    assert refused(tmp_path) == f"'{tmp_path}' holds no class folders; lay the images out as {layout}"
    one = touch(tmp_path / "one", "ant/1.png")
    assert refused(one) == f"'{one}' holds one class only, 'ant'; classification needs at least two class folders"
    half = touch(tmp_path / "half", "val/ant/1.png", "val/bee/1.png")
    assert refused(half) == f"'{half}' has no folder 'train'; lay it out as {layout}"
    hollow = touch(tmp_path / "hollow", "ant/1.png", "bee/notes.txt")
    assert refused(hollow).startswith(f"the class folder '{hollow / 'bee'}' holds no images; add some (.jpg, .jpeg, .png, ")


def test_at_most_five_odd_classes_are_named(tmp_path: Path) -> None:
    touch(tmp_path, *(f"train/{name}/1.png" for name in "abcdefgh"), "test/a/1.png", "test/z/1.png")
    assert refused(tmp_path).endswith("must hold the same classes; in one only: b, c, d, e, f, …")


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "ant/1.png", "bee/1.png")
    (tmp_path / "ant" / "2.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(
        DataError, match=r"the image '.*ant/2\.png' cannot be read \(No such file or directory\); mend the link or remove it"
    ):
        list_images(tmp_path)


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    touch(tmp_path, "ant/1.png", "bee/1.png")
    os.mkfifo(tmp_path / "bee" / "2.png")
    with pytest.raises(DataError, match=r"bee/2\.png' is no regular file; remove it"):
        list_images(tmp_path)


def test_a_name_that_is_no_text_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "ant/1.png", "bee/1.png")
    Path(os.fsdecode(bytes(tmp_path) + b"/bee/\xff.png")).write_bytes(b"x")
    with pytest.raises(DataError, match=r"bee/\\xff\.png' is not UTF-8; rename it"):
        list_images(tmp_path)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path / "data", "ant/1.png", "bee/1.png")
    touch(tmp_path / "more", "3.png")
    (tmp_path / "data" / "ant" / "more").symlink_to(tmp_path / "more")
    (tmp_path / "data" / "ant" / "again").symlink_to(tmp_path / "data" / "ant")
    (tmp_path / "more" / "back").symlink_to(tmp_path / "more")
    assert list_images(tmp_path / "data").files == ("ant/1.png", "ant/more/3.png", "bee/1.png")


def test_a_path_that_no_folder_can_have_is_refused(tmp_path: Path) -> None:
    for name in ("a" * 5000, "a\0b"):
        with pytest.raises(DataError, match="there is no folder"):
            list_images(tmp_path / name)
