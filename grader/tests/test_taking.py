"""What is handed in: a module from a file, a folder or a zip, or a sentence that says why not."""

import os
import stat
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from grader.bank import solution_of
from grader.instructor import places
from grader.instructor.places import MAX_BYTES
from grader.instructor.taking import take_submission
from grader.judge.paths import ROOT
from grader.syllabus import find_lesson
from lessons.engine.errors import CourseError

LESSON = find_lesson("03")
SOURCE = solution_of(LESSON).encode()


def zipped(path: Path, files: dict[str, bytes], pack: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", pack) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def laid_out(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def refusal(path: Path) -> str:
    taken = take_submission(path, LESSON)
    assert taken.source is None
    assert taken.sha256 == ""
    assert taken.refused
    assert "\n" not in taken.refused
    assert taken.refused.isprintable()
    return taken.refused


# What is taken

HOMES = [
    {"attention.py": SOURCE},
    {"03/attention.py": SOURCE},
    {"lessons/03/attention.py": SOURCE, "lessons/05/model.py": b"x", "solutions/bigram.py": b"y"},
    {
        "my course/attention.py": SOURCE,
        "__MACOSX/my course/._attention.py": b"\0",
        ".DS_Store": b"",
    },
    {"my course/lessons/03/attention.py": SOURCE, "my course/lessons/00/bigram.py": b"x"},
    {"attention.py": SOURCE, "03/attention.py": SOURCE},
    {"attention.py": SOURCE, "notes/attention.py": b"an older one, and not where it belongs"},
    {"attention.py": SOURCE, "attention.ipynb": b"{}", "numpy.py": b"evil", "conftest.py": b"evil"},
]


@pytest.mark.parametrize("files", HOMES)
@pytest.mark.parametrize("form", [zipped, laid_out])
def test_the_module_is_found_where_people_put_it(files, form, tmp_path):
    taken = take_submission(form(tmp_path / "ada.zip", files), LESSON)
    assert taken.refused == ""
    assert taken.source == SOURCE
    assert taken.name.endswith("attention.py")
    assert len(taken.sha256) == 64
    assert [*tmp_path.iterdir()] == [tmp_path / "ada.zip"]  # nothing was unpacked


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("attention.py", SOURCE),
        ("attention.py", b"\xef\xbb\xbf" + SOURCE),
        ("attention.py", SOURCE.replace(b"\n", b"\r\n")),
        ("attention.py", b"# -*- coding: utf-8 -*-\n" + SOURCE),
        ("attention.py", "# Größe, 注意\n".encode() + SOURCE),
        ("attention.py", b"not ( python"),  # the checks say so, with the line
        ("ada_1234_5678_attention-2.py", SOURCE),
        ("attention (1).py", SOURCE),
        ("ada.zip", zipfile),
    ],
)
def test_a_file_is_taken_to_the_byte(name, content, tmp_path):
    if content is zipfile:
        file, content = zipped(tmp_path / name, {"attention.py": SOURCE}), SOURCE
    else:
        (file := tmp_path / name).write_bytes(content)
    taken = take_submission(file, LESSON)
    assert (taken.refused, taken.source, taken.name) == ("", content, "attention.py")
    assert bool(taken.notes) == (name not in ("attention.py", "ada.zip"))


def test_archives_of_windows_write_their_slashes_the_other_way(tmp_path):
    assert take_submission(
        zipped(tmp_path / "a.zip", {"lessons\\03\\attention.py": SOURCE}), LESSON
    ).source


# What is refused, with a sentence


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "is empty; attention.py is wanted"),
        ({".DS_Store": b"x", "__MACOSX/._attention.py": b"x"}, "is empty"),
        ({"model.py": b"x"}, "this is lesson 05's model.py; lesson 03 wants attention.py"),
        ({"work/model.py": b"x"}, "this is lesson 05's model.py; lesson 03 wants attention.py"),
        ({"mine.py": b"x", "b.txt": b""}, "holds no attention.py; there is mine.py"),
        ({"Attention.py": SOURCE}, "holds Attention.py; the name must be written attention.py"),
        ({"attention.ipynb": b"{}"}, "holds the notebook attention.ipynb without attention.py"),
        ({"a.zip": b"x"}, "holds another archive, a.zip; hand in attention.py itself"),
        ({"attention.py": SOURCE, "03/attention.py": b"x = 1"}, "more than once"),
        ({"attention.py": b" \n"}, "attention.py is empty"),
        ({"attention.py": b"#" * (MAX_BYTES + 1)}, "larger than 256 KB"),
        ({"attention.py/x": b""}, "it is a folder, a file of that name is wanted"),
        ({"<b>\x1b[2J.txt": b""}, "holds no attention.py; there is <b>\ufffd[2J.txt"),
        ({f"{i}.py": b"" for i in range(9)}, "there is 0.py, 1.py, 2.py, 3.py and 5 more"),
        ({"a" * 200 + ".py": b""}, "..."),
    ],
)
@pytest.mark.parametrize("form", [zipped, laid_out])
def test_what_lacks_the_module_is_told_what_is_there(files, says, form, tmp_path):
    assert says in refusal(form(tmp_path / "ada.zip", files))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"# \xe4ndern\n" + SOURCE, "is not saved as UTF-8"),
        (SOURCE.decode().encode("utf-16"), "saved as UTF-16"),
        (b"x = 1\0", "zero bytes"),
        (b"# coding: latin-1\n" + SOURCE, "says that it is written in latin-1"),
        (b"#!/usr/bin/python\n# vim: set fileencoding=utf_7 :\n" + SOURCE, "written in utf_7"),
        (b"# coding: rot13\n" + SOURCE, "written in rot13"),
        (b"", "is empty"),
        (solution_of(find_lesson("05")).encode(), "holds lesson 05's model.py"),
    ],
)
def test_a_module_must_be_utf8_and_of_its_lesson(content, says, tmp_path):
    (tmp_path / "attention.py").write_bytes(content)
    assert says in refusal(tmp_path / "attention.py")
    assert says in refusal(zipped(tmp_path / "ada.zip", {"attention.py": content}))


def test_only_ordinary_files_are_taken(tmp_path):
    secret = tmp_path / "secret.py"
    secret.write_bytes(SOURCE)
    links, pipes, inside = (tmp_path / name for name in ("links", "pipes", "inside"))
    for folder in (links, pipes, inside):
        folder.mkdir()
    (links / "attention.py").symlink_to(secret)
    os.mkfifo(pipes / "attention.py")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "attention.py").write_bytes(SOURCE)
    (inside / "lessons").mkdir()
    (inside / "lessons" / "03").symlink_to(tmp_path / "home")
    (tmp_path / "whole").symlink_to(tmp_path / "home")
    with pytest.raises(CourseError, match="no ordinary file"):
        places.take_file(tmp_path / "home")
    for path, says in {
        links: "symbolic link",
        links / "attention.py": "symbolic link",
        pipes: "no ordinary file",
        pipes / "attention.py": "no ordinary file",
        inside: "no attention.py",
        tmp_path / "whole": "symbolic link",
        tmp_path / "attention.py": "No such file",
        Path("/dev/zero"): "no ordinary file",
        tmp_path / "nul\0.py": "cannot be taken",
    }.items():
        assert says in refusal(path), path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("attention.ipynb", "is a notebook; what is judged is attention.py"),
        ("model.py", "this is lesson 05's model.py; lesson 03 wants attention.py"),
        ("homework.py", "homework.py cannot be taken: lesson 03 wants attention.py"),
        ("Attention.py", "Attention.py cannot be taken: lesson 03 wants attention.py"),
        ("attention.tar.gz", "hand in attention.py, a folder that holds it, or a .zip"),
        ("attention.py.txt", "hand in attention.py"),
    ],
)
def test_a_file_with_another_name_is_refused(name, says, tmp_path):
    (tmp_path / name).write_bytes(SOURCE)
    assert says in refusal(tmp_path / name)


def test_a_folder_of_thousands_is_told_so(tmp_path):
    for i in range(places.MAX_ENTRIES):
        (tmp_path / f"{i}.txt").touch()
    (tmp_path / "attention.py").write_text(solution_of(LESSON))
    assert "more than 5000 files" in refusal(tmp_path)


def test_a_name_of_a_thousand_accents_is_not_parsed(tmp_path):
    file = tmp_path / "attention.py"
    file.write_text(solution_of(LESSON) + "a" + "\u0301" * 1000 + " = 1\n", encoding="utf-8")
    assert "heaps accents on one letter" in refusal(file)


def test_a_gigabyte_is_not_read(tmp_path):
    for name in ("attention.py", "ada.zip"):
        with open(tmp_path / name, "wb") as file:
            file.write(b"PK\x03\x04")
            file.truncate(1 << 30)
        with bounded(seconds=10, mega=2):
            assert "larger than" in refusal(tmp_path / name)


# Archives made to do harm


@pytest.mark.parametrize(
    "name", ["../attention.py", "/attention.py", "03/../../x.py", "..\\x.py", "C:\\x.py", "c:/x.py"]
)
def test_names_that_lead_out_are_refused(name, tmp_path):
    archive = zipped(tmp_path / "ada.zip", {"attention.py": SOURCE, name: b"x"})
    assert "a name that leads out of it" in refusal(archive)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ada.zip"]
    assert not (tmp_path.parent / "attention.py").exists()


def test_links_and_devices_in_an_archive_are_refused(tmp_path):
    kinds = {
        stat.S_IFLNK: "symbolic link",
        stat.S_IFIFO: "no ordinary",
        stat.S_IFCHR: "no ordinary",
    }
    for kind, says in kinds.items():
        entry = zipfile.ZipInfo("attention.py")
        entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "ada.zip", "w") as archive:
            archive.writestr(entry, "/etc/passwd")
        assert says in refusal(tmp_path / "ada.zip")


def test_bombs_are_not_unpacked(tmp_path):
    zeros = bytes(64 << 20)
    bombs = {
        "one.zip": ({"attention.py": SOURCE, "zeros": zeros}, "hand in the module alone"),
        "self.zip": ({"attention.py": zeros}, "hand in the module alone"),
        "small.zip": ({"attention.py": zeros[: 8 << 20]}, "larger than 256 KB"),
        "many.zip": ({f"{i}.py": b"" for i in range(6000)}, "more than 5000 files"),
    }
    inner = zipped(tmp_path / "inner.zip", {"zeros": zeros}).read_bytes()
    bombs["nested.zip"] = ({f"{i}.zip": inner for i in range(9)}, "holds another archive, 0.zip")
    for name, (files, says) in bombs.items():
        bomb = zipped(tmp_path / name, files)
        with bounded(seconds=10, mega=16):
            assert says in refusal(bomb), name


def test_a_bomb_that_lies_about_its_size_is_read_no_further_than_a_module(tmp_path):
    bomb = zipped(tmp_path / "ada.zip", {"attention.py": bytes(64 << 20)})
    content = bytearray(bomb.read_bytes())
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.rindex(mark) + at, 1000)
    bomb.write_bytes(content)
    with bounded(seconds=10, mega=4):
        assert "damaged" in refusal(bomb) or "larger" in refusal(bomb)


def test_two_of_a_name_in_one_archive(tmp_path):
    for second, taken in ((SOURCE, True), (b"x = 1", False)):
        with zipfile.ZipFile(tmp_path / "ada.zip", "w") as archive:
            archive.writestr("attention.py", SOURCE)
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("attention.py", second)
        assert bool(take_submission(tmp_path / "ada.zip", LESSON).source) is taken


@pytest.mark.parametrize("at", [*range(0, 60, 7), -60, -40, -22, -12, -3])
def test_a_damaged_archive_is_a_sentence(at, tmp_path):
    archive = zipped(tmp_path / "ada.zip", {"attention.py": SOURCE})
    content = bytearray(archive.read_bytes())
    for i in range(8):
        if at + i < len(content) and (at >= 0 or at + i < 0):
            content[at + i] ^= 0xA5
    archive.write_bytes(content)
    taken = take_submission(archive, LESSON)
    assert taken.refused or taken.source == SOURCE
    archive.write_bytes(content[: len(content) // 2])
    assert refusal(archive)


def test_passwords_and_unusual_packing(tmp_path):
    archive = zipped(tmp_path / "ada.zip", {"attention.py": SOURCE})
    content = bytearray(archive.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    content[6] |= 1
    archive.write_bytes(content)
    assert "has a password" in refusal(archive)
    zipped(tmp_path / "b.zip", {"attention.py": SOURCE}, zipfile.ZIP_LZMA)  # its memory is theirs
    assert "packed in an unusual way" in refusal(tmp_path / "b.zip")


class bounded:  # noqa: N801
    """Fails where what stands inside takes too long or too much memory."""

    def __init__(self, seconds: float, mega: int) -> None:
        self.seconds, self.mega = seconds, mega

    def __enter__(self):
        tracemalloc.start()
        self.start = time.monotonic()

    def __exit__(self, *error):
        took, (_, peak) = time.monotonic() - self.start, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert took < self.seconds
        assert peak < self.mega << 20


def test_the_whole_repository_can_be_handed_in(tmp_path):
    taken = take_submission(ROOT, LESSON)
    assert taken.name == "lessons/03/attention.py"
    assert 10 * len(taken.source) < places.MAX_BYTES
