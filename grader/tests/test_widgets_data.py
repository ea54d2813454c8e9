"""The command that makes the widgets' data: one call per file, whole, within its budget, repeatable."""

import argparse
import gzip
import json
import re
from pathlib import Path

import pytest

from solutions.engine.errors import CourseError, run_command
from solutions.engine.storyteller import storyteller_folder
from solutions.explore import for_widgets
from solutions.explore.for_widgets import command, compact, delivery, make_all, makers, pieces

from .widget_page import WIDGETS

QUICK = ("attention", "lens", "sampling")


def content_of(file: Path) -> object:
    name, value = re.fullmatch(
        r'course\.deliver\("(\w+)",(.*)\);\n', file.read_text(encoding="utf-8"), re.DOTALL
    ).groups()
    assert name == file.stem
    return json.loads(value)


def test_every_module_with_a_make_is_a_maker_with_a_budget():
    there = makers()
    assert {"attention", "cache", "lens", "sampling"} <= there.keys()
    assert "command" not in there
    for module in there.values():
        assert module.BUDGET, module.__name__
        assert all(type(size) is int and size > 0 for size in module.BUDGET.values())
    files = [file for module in there.values() for file in module.BUDGET]
    assert len(files) == len(set(files)), "two makers write one file"


def test_files_are_calls_within_their_budget_and_come_out_alike_twice(tmp_path):
    sizes = make_all(tmp_path / "a", storyteller_folder(), QUICK)
    again = make_all(tmp_path / "b", None, QUICK)  # None: our own small model
    assert sizes == again
    assert set(sizes) == set(QUICK)
    for file, size in sizes.items():
        first, second = tmp_path / "a" / f"{file}.js", tmp_path / "b" / f"{file}.js"
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_size == size <= makers()[file].BUDGET[file]
        assert content_of(first)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {f"{file}.js" for file in QUICK}


def test_a_file_over_its_budget_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setitem(makers()["lens"].BUDGET, "lens", 1000)
    with pytest.raises(
        CourseError, match=r"lens\.js would be [\d,]+ bytes, and its budget is 1,000"
    ):
        make_all(tmp_path / "data", None, ["lens"])
    assert not list(tmp_path.rglob("*.js*"))


def test_an_unknown_name_is_answered_with_the_right_ones(tmp_path):
    with pytest.raises(CourseError, match=r"no widget data 'attenton'.*attention, .*cache"):
        make_all(tmp_path, None, ["attenton"])


def test_values_are_written_compactly_and_bytes_as_they_are(tmp_path):
    assert compact({"a": [1.0, 0.5, -0.25, True, None, "x"]}) == {
        "a": [1, 0.5, -0.25, True, None, "x"]
    }
    assert delivery("x", {"a": [1.0, 0.125], "b": "é\u2028"}) == (
        'course.deliver("x",{"a":[1,0.125],"b":"é\\u2028"});\n'.encode()
    )
    with pytest.raises(ValueError, match="JSON"):
        delivery("x", float("nan"))
    assert for_widgets.write_file(tmp_path, "x", b"ready", 5) == 5
    assert (tmp_path / "x.js").read_bytes() == b"ready"


def test_tokens_that_are_no_whole_letters_stay_to_be_seen():
    class Bytes:
        def decode_bytes(self, ids):
            return bytes(ids)

    assert pieces(Bytes(), [65, 0xC3]) == ["A", "\\xc3"]


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = parser.parse_args(arguments)
    return run_command(lambda: command.run(options))


def test_the_command_says_what_it_wrote(tmp_path, capsys):
    assert run("--out", str(tmp_path), "--only", "lens") == 0
    size = (tmp_path / "lens.js").stat().st_size
    assert capsys.readouterr().out == f"{tmp_path / 'lens.js'}  {size:,} bytes\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "no-such-folder"], "no folder no-such-folder"),
        (["--only", "nothing"], "no widget data 'nothing'"),
    ],
)
def test_what_a_person_can_get_wrong_ends_in_a_sentence(tmp_path, capsys, arguments, sentence):
    assert run("--out", str(tmp_path), *arguments) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("script", sorted(WIDGETS.glob("*.js")), ids=lambda path: path.stem)
def test_a_script_is_small_strict_and_asks_no_one(script):
    text = script.read_text(encoding="utf-8")
    assert len(gzip.compress(text.encode())) < 20_000
    assert '"use strict";' in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"\bfetch\(|XMLHttpRequest|^\s*(import|export)\b", text, re.MULTILINE)
