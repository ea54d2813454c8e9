"""Preparing data: equal to lesson 06, for any number of processes, through kills and full disks."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from grader.tests.preparing import ROOT, contents, make_stories, refusal, run_python
from solutions.data import pack, split_documents, write_tokens
from solutions.engine import prepare as preparing
from solutions.engine import shards
from solutions.engine.errors import CourseError
from solutions.engine.prepare import load_prepared, prepare
from solutions.engine.sources import documents
from solutions.engine.tokenizers import BytePairTokenizer, load_tokenizer, train_byte_pairs


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    """A small tokenizer in a folder, so that most tests train none."""
    folder = tmp_path_factory.mktemp("tokenizer")
    train_byte_pairs(make_stories(50), 300).save(folder)
    return str(folder)


@pytest.fixture
def stories(tmp_path) -> Path:
    path = tmp_path / "stories.txt"
    path.write_text("\n<|endoftext|>\n".join(make_stories(400)), encoding="utf-8")
    return path


@pytest.fixture
def small_chunks(monkeypatch):
    """About a dozen chunks from `stories` instead of one."""
    monkeypatch.setattr(shards, "CHUNK", 10_000)


# What it makes.


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_it_is_what_lesson_06_makes(tmp_path, stories, saved, small_chunks, processes):
    tokenizer = load_tokenizer(saved)
    meta = prepare(tmp_path / "out", stories, tokenizer=saved, processes=processes)
    for part, side in zip(("train", "val"), split_documents(documents(str(stories))), strict=True):
        ids = pack(map(tokenizer.encode, side), tokenizer.end_of_text)
        write_tokens(ids, tmp_path / "plain.bin", tokenizer.vocab_size)
        plain = (tmp_path / "plain.bin").read_bytes()
        assert (tmp_path / "out" / f"{part}.bin").read_bytes() == plain
        assert meta[f"{part}_tokens"] == len(ids)
        assert meta[f"{part}_documents"] == len(side)
        assert meta[f"{part}_bytes"] == sum(len(text.encode()) for text in side)
        assert meta[f"{part}_chars"] == sum(map(len, side))
        assert meta[f"{part}_sha256"] == hashlib.sha256(plain).hexdigest()
    assert sorted(contents(tmp_path / "out")) == [
        "meta.json",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "train.bin",
        "val.bin",
    ]


def test_the_meta_says_what_it_was(tmp_path, stories, saved):
    meta = prepare(tmp_path / "out", stories, tokenizer=saved, processes=1)
    assert meta == json.loads((tmp_path / "out" / "meta.json").read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(str(tmp_path / "out" / "tokenizer"))
    assert meta["data"] == "stories.txt"
    assert meta["data_sha256"] == hashlib.sha256(stories.read_bytes()).hexdigest()
    assert meta["valid"] == "stories.txt, 10% kept by document"
    assert (meta["split"], meta["dtype"], meta["vocab_size"]) == ("by document", "<u2", 300)
    assert meta["tokenizer"] == tokenizer.name == "bpe:300"
    assert meta["tokenizer_sha256"] == tokenizer.fingerprint()
    assert meta["end_of_text"] == tokenizer.end_of_text
    assert meta["asked"]["seed"] == 0
    assert str(tmp_path) not in json.dumps(meta)  # it may be shared: no folders of this machine
    train, val, loaded = load_prepared(tmp_path / "out", verify=True)
    assert loaded == meta
    assert isinstance(train, np.memmap)
    assert len(train) == meta["train_tokens"]
    first = train[: list(train).index(tokenizer.end_of_text)]
    assert tokenizer.decode(first) in make_stories(400)
    assert val[-1] == tokenizer.end_of_text


@pytest.mark.parametrize("spec", ["bpe:300", "sentencepiece:300"])
def test_a_tokenizer_learns_from_the_training_part_alone(tmp_path, stories, spec):
    meta = prepare(tmp_path / "out", stories, tokenizer=spec, processes=1)
    train, _ = split_documents(documents(str(stories)))
    assert meta["tokenizer_sha256"] == load_tokenizer(spec, train).fingerprint()
    assert meta["tokenizer"] == spec
    assert meta["asked"]["tokenizer"] == spec


def test_big_vocabularies_take_four_bytes(tmp_path, stories):
    BytePairTokenizer([], {"<|endoftext|>": 70_000}).save(tmp_path / "big")
    meta = prepare(tmp_path / "out", stories, tokenizer=str(tmp_path / "big"), processes=1)
    assert (meta["dtype"], meta["vocab_size"]) == ("<u4", 70_001)
    _, val, _ = load_prepared(tmp_path / "out")
    assert val.max() == 70_000
    assert len(val) == meta["val_tokens"]


def test_a_validation_text_of_its_own(tmp_path, stories, saved):
    (tmp_path / "valid").mkdir()
    (tmp_path / "valid" / "a.jsonl").write_text('{"text": "One held out."}\n{"text": "Two."}')
    meta = prepare(tmp_path / "out", stories, tmp_path / "valid", tokenizer=saved, processes=1)
    assert (meta["split"], meta["valid"]) == ("separate", "valid")
    assert (meta["train_documents"], meta["val_documents"]) == (400, 2)
    assert meta["asked"]["valid_fraction"] is None
    tokenizer = load_tokenizer(saved)
    _, val, _ = load_prepared(tmp_path / "out")
    assert tokenizer.decode(val) == "One held out.<|endoftext|>Two.<|endoftext|>"


def test_ministories_bring_their_own_validation(tmp_path, saved):
    meta = prepare(tmp_path / "out", tokenizer=saved, stories=90, seed=3, processes=1)
    assert (meta["data"], meta["train_documents"], meta["val_documents"]) == ("ministories", 90, 10)
    assert meta["train_bytes"] == sum(
        len(text.encode()) for text in documents("ministories", count=90, seed=3)
    )
    again = prepare(tmp_path / "again", tokenizer=saved, stories=90, seed=3, processes=1)
    other = prepare(tmp_path / "other", tokenizer=saved, stories=90, seed=4, processes=1)
    assert again == meta
    assert other["data_sha256"] != meta["data_sha256"]
    assert meta["valid_sha256"] not in (meta["data_sha256"], other["valid_sha256"])


# Splitting few documents.


@pytest.mark.parametrize("texts", [["A long tale.\n" * 300], ["Same words. " * 50] * 4])
def test_few_documents_are_split_by_position_and_it_says_so(tmp_path, saved, caplog, texts):
    path = tmp_path / "book.txt"
    path.write_text("<|endoftext|>".join(texts))
    meta = prepare(tmp_path / "out", path, tokenizer=saved, processes=1)
    assert "too few documents" in caplog.text
    assert meta["split"] == "by position"
    assert meta["train_documents"] == meta["val_documents"] == len(texts)
    assert 0.05 < meta["val_bytes"] / (meta["train_bytes"] + meta["val_bytes"]) < 0.2
    train, val, _ = load_prepared(tmp_path / "out")
    tokenizer = load_tokenizer(saved)
    for array in (train, val):
        for text in tokenizer.decode(array).split("<|endoftext|>")[:-1]:
            assert text.startswith(("A", "Same", "words"))  # cut between words, not within
            assert text.endswith((".", "Same"))


def test_the_cut_is_at_a_blank_line_else_a_line_end_else_a_space():
    cut = preparing.cut_documents
    assert cut(["a" * 850 + "\n\n" + "b\n" * 24 + "c" * 100], 0.1) == (
        ["a" * 850],
        ["b\n" * 24 + "c" * 100],
    )
    assert cut(["a " * 430 + "\n" + "b " * 60], 0.1) == (
        [("a " * 430).strip()],
        [("b " * 60).strip()],
    )
    assert cut(["a" * 880 + " " + "b" * 119], 0.1) == (["a" * 880], ["b" * 119])
    assert cut(["a" * 1000], 0.25) == (["a" * 750], ["a" * 250])
    assert cut(["a"], 0.1) == ([], ["a"])


def test_too_little_to_split_is_refused(tmp_path, saved):
    path = tmp_path / "x.txt"
    path.write_text("x")
    assert "too little text" in refusal(tmp_path / "out", path, tokenizer=saved)


# Doing it again.


def test_again_it_only_looks(tmp_path, stories, saved, monkeypatch):
    meta = prepare(tmp_path / "out", stories, tokenizer=saved, processes=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    monkeypatch.setattr(shards, "encode_chunk", None)
    monkeypatch.setattr(preparing, "documents", None)
    monkeypatch.setattr(preparing, "sha256_of", None)
    assert prepare(tmp_path / "out", stories, tokenizer=saved, processes=2) == meta
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    stories.unlink()  # what was made of it is there still
    assert prepare(tmp_path / "out", stories, tokenizer=saved) == meta


def test_other_settings_are_refused(tmp_path, stories, saved):
    prepare(tmp_path / "out", stories, tokenizer=saved, processes=1)
    before = contents(tmp_path / "out")
    (tmp_path / "other.txt").write_text("other")
    for settings, said in (
        ({"data": tmp_path / "other.txt"}, "data stories.txt, not other.txt"),
        ({"tokenizer": "bpe:300"}, "not bpe:300"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"valid_fraction": 0.2}, "valid_fraction 0.1, not 0.2"),
        ({"valid": tmp_path / "other.txt"}, "valid None, not other.txt"),
    ):
        told = refusal(tmp_path / "out", **{"data": stories, "tokenizer": saved} | settings)
        assert said in told
        assert "choose another --out" in told
    assert contents(tmp_path / "out") == before
    prepare(tmp_path / "out", stories, tokenizer=saved, stories=7)  # means nothing for a file


def test_a_changed_text_is_noticed_and_a_touched_one_is_not(tmp_path, stories, saved):
    meta = prepare(tmp_path / "out", stories, tokenizer=saved, processes=1)
    os.utime(stories, (1, 1))
    assert prepare(tmp_path / "out", stories, tokenizer=saved) == meta
    content = stories.read_bytes()
    stories.write_bytes(content.replace(b"bear", b"lion"))  # as long as before
    assert "has changed since" in refusal(tmp_path / "out", stories, tokenizer=saved)


@pytest.mark.parametrize("damage", ["train.bin", "val.bin", "missing"])
def test_a_damaged_result_is_made_anew(tmp_path, stories, saved, caplog, damage):
    meta = prepare(tmp_path / "out", stories, tokenizer=saved, processes=1)
    before = contents(tmp_path / "out")
    if damage == "missing":
        (tmp_path / "out" / "train.bin").unlink()
    else:
        path = tmp_path / "out" / damage
        path.write_bytes(path.read_bytes()[:-2])
    assert prepare(tmp_path / "out", stories, tokenizer=saved, processes=1) == meta
    assert contents(tmp_path / "out") == before


# Helpers, folders, arguments.


def test_a_script_of_two_lines_needs_no_main_guard(tmp_path, saved):
    """With helpers, from another folder, where files have the names of modules."""
    (tmp_path / "stories.txt").write_text("\n<|endoftext|>\n".join(make_stories(300)))
    (tmp_path / "regex.py").write_text("raise SystemExit('the wrong regex')")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "mine.py").write_text(
        "from solutions.engine.prepare import prepare\n"
        "import solutions.engine.shards as s; s.CHUNK = 5000\n"
        f"print(prepare('out', 'stories.txt', tokenizer={saved!r}, processes=3)['data'])\n"
    )
    result = subprocess.run(
        [sys.executable, "scripts/mine.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout == "stories.txt\n", result.stderr
    load_prepared(tmp_path / "out", verify=True)


def test_the_learners_package_uses_the_learners_modules(tmp_path, stories, saved):
    """`lessons.engine.prepare` with a split of the learner's own; helpers find their package."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data.py").write_text(
        "def split_documents(documents, valid_fraction=0.1, seed=0):\n"
        "    documents = list(documents)\n"
        "    held = [text for text in documents if text.startswith('7')]\n"
        "    return [text for text in documents if text not in held], held\n"
    )
    code = """
        import sys
        from lessons.engine import shards
        from lessons.engine.prepare import prepare
        shards.CHUNK = 10_000
        meta = prepare(sys.argv[1], sys.argv[2], tokenizer=sys.argv[3], processes=2)
        print(meta["val_documents"])
    """
    path = os.pathsep.join([str(tmp_path / "mine"), "solutions", "lessons"])
    result = run_python(code, tmp_path / "out", stories, saved, env={"COURSE_PATH": path})
    assert result.stdout == "11\n", result.stderr


def test_wrong_arguments(tmp_path, stories, saved):
    (tmp_path / "file").write_text("x")
    assert "is a file" in refusal(tmp_path / "file", stories, tokenizer=saved)
    for settings, said in (
        ({"processes": 0}, "--processes"),
        ({"stories": 0}, "--stories"),
        ({"valid_fraction": 1.0}, "between 0 and 1"),
        ({"tokenizer": "bpe"}, "gpt2, bpe:N, sentencepiece:N"),
        ({"valid": tmp_path / "nowhere.txt"}, "no file"),
        ({"data": "tinystory"}, "ministories, tinystories, wikipedia"),
    ):
        told = refusal(tmp_path / "out", **{"data": stories, "tokenizer": saved} | settings)
        assert said in told


def test_offline_tinystories_say_how_to_go_on(tmp_path, saved, monkeypatch):
    import datasets

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    assert "--data ministories" in refusal(tmp_path / "out", "tinystories", tokenizer=saved)


# Loading, sharing.


def test_load_prepared_notices_damage(tmp_path, stories, saved):
    with pytest.raises(CourseError, match="holds no prepared data"):
        load_prepared(tmp_path / "out")
    prepare(tmp_path / "out", stories, tokenizer=saved, processes=1)
    path = tmp_path / "out" / "val.bin"
    good = path.read_bytes()
    path.write_bytes(good[:-2])
    with pytest.raises(CourseError, match=rf"val\.bin has {len(good) - 2:,} bytes, not"):
        load_prepared(tmp_path / "out")
    path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    load_prepared(tmp_path / "out")
    with pytest.raises(CourseError, match=r"val\.bin has been changed"):
        load_prepared(tmp_path / "out", verify=True)
    path.unlink()
    with pytest.raises(CourseError, match="has 0 bytes"):
        load_prepared(tmp_path / "out")
    for content in ("[]", "{}", "{"):
        (tmp_path / "out" / "meta.json").write_text(content)
        with pytest.raises(CourseError, match="damaged"):
            load_prepared(tmp_path / "out")


@pytest.mark.parametrize("links", [True, False])
def test_prepared_data_is_shared(tmp_path, stories, saved, monkeypatch, links):
    meta = prepare(tmp_path / "first", stories, tokenizer=saved, processes=1)
    monkeypatch.setattr(preparing, "documents", None)
    if not links:

        def no_links(*paths):
            raise OSError("across disks")

        monkeypatch.setattr(os, "link", no_links)
    for _ in range(2):
        assert prepare(tmp_path / "second", tmp_path / "first", tokenizer="gpt2") == meta
        assert contents(tmp_path / "second") == contents(tmp_path / "first")
    assert prepare(tmp_path / "first", tmp_path / "first") == meta
    assert (tmp_path / "second" / "train.bin").samefile(tmp_path / "first" / "train.bin") == links
    assert "leave --valid out" in refusal(tmp_path / "third", tmp_path / "first", stories)
    (tmp_path / "first" / "val.bin").write_bytes(b"xx")
    assert "val.bin has 2 bytes" in refusal(tmp_path / "third", tmp_path / "first")


def test_real_text_with_a_vocabulary_of_its_own(tmp_path, real_text):
    train = real_text("tinystories-train.txt")
    valid = real_text("tinystories-valid.txt")
    meta = prepare(tmp_path / "out", train, valid, tokenizer="bpe:4096", processes=2)
    assert (meta["train_documents"], meta["val_documents"]) == (7819, 3117)
    assert meta["vocab_size"] == 4096
    tokenizer = load_tokenizer(str(tmp_path / "out" / "tokenizer"))
    _, val, _ = load_prepared(tmp_path / "out", verify=True)
    assert tokenizer.decode(val) == "".join(
        text + "<|endoftext|>" for text in documents(str(valid))
    )
