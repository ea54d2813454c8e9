"""Preparing data through kills at any moment, damaged chunks, dead helpers and full disks."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from grader.tests.preparing import ROOT, contents, make_stories, refusal, run_python
from solutions.engine import shards
from solutions.engine.prepare import load_prepared, prepare
from solutions.engine.tokenizers import BytePairTokenizer, train_byte_pairs


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


def count_encoded(monkeypatch) -> list[int]:
    """The number of documents in each later call of the tokenizer in this process."""
    sizes: list[int] = []
    plain = BytePairTokenizer.encode_arrays

    def counting(self, texts):
        sizes.append(len(texts))
        return plain(self, texts)

    monkeypatch.setattr(BytePairTokenizer, "encode_arrays", counting)
    return sizes


def die_after(replacements: int, arguments: tuple, settings: dict) -> int:
    """Prepare in a fork that ends itself, as by kill -9, at its n-th os.replace. Its exit code."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    plain, done = os.replace, 0

    def replace(*paths):
        nonlocal done
        if done == replacements // 2 and replacements % 2 == 0:
            os._exit(9)  # before
        plain(*paths)
        if done == replacements // 2:
            os._exit(9)  # after
        done += 1

    os.replace = replace
    try:
        prepare(*arguments, **settings)
    except BaseException:
        os._exit(1)
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_every_step_it_goes_on(tmp_path, stories, monkeypatch):
    monkeypatch.setattr(shards, "CHUNK", 40_000)
    settings = {"tokenizer": "bpe:270", "processes": 1, "progress": False}
    meta = prepare(tmp_path / "whole", stories, **settings)
    steps = 0
    while True:  # each attempt in a fresh folder dies one step later than the one before
        out = tmp_path / f"out{steps}"
        code = die_after(steps, (out, stories), settings)
        if code == 0:
            break
        assert code == 9
        assert prepare(out, stories, **settings) == meta
        assert contents(out) == contents(tmp_path / "whole")
        steps += 1
    assert steps > 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_again_and_again_it_comes_to_an_end(tmp_path, stories, saved, small_chunks):
    settings = {"tokenizer": saved, "processes": 1, "progress": False}
    meta = prepare(tmp_path / "whole", stories, **settings)
    kills = 0
    while die_after(13, (tmp_path / "out", stories), settings) == 9:  # 13: at the seventh file
        kills += 1
    assert 1 < kills < 30
    assert load_prepared(tmp_path / "out", verify=True)[2] == meta
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_kill_9_with_helpers(tmp_path, saved):
    """A true kill -9 of the program at random moments, its helpers still at work."""
    path = tmp_path / "stories.txt"
    path.write_text("\n<|endoftext|>\n".join(make_stories(12_000)), encoding="utf-8")
    code = """
        import sys
        from solutions.engine import shards
        from solutions.engine.prepare import prepare
        shards.CHUNK = 50_000
        print("begun", flush=True)
        prepare(sys.argv[1], sys.argv[2], tokenizer=sys.argv[3], processes=2, progress=False)
    """
    chance = random.Random(1)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), tmp_path / "out", path, saved],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        process.stdout.readline()
        time.sleep(chance.uniform(0.2, 1.2))
        process.kill()
        process.communicate()
    finished = run_python(code, tmp_path / "out", path, saved)
    assert finished.returncode == 0, finished.stderr
    meta = prepare(tmp_path / "whole", path, tokenizer=saved, processes=1)
    assert load_prepared(tmp_path / "out", verify=True)[2] == meta
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def stop_after(monkeypatch, chunks: int, error: BaseException) -> None:
    """Let the next call of `prepare` end with `error` once so many chunks are done."""
    plain, done = shards.encode_chunk, 0

    def encode_chunk(*args):
        nonlocal done
        if done == chunks:
            monkeypatch.setattr(shards, "encode_chunk", plain)
            raise error
        done += 1
        return plain(*args)

    monkeypatch.setattr(shards, "encode_chunk", encode_chunk)


def test_finished_chunks_are_not_tokenised_again(
    tmp_path, stories, saved, small_chunks, monkeypatch
):
    whole = prepare(tmp_path / "whole", stories, tokenizer=saved, processes=1)
    stop_after(monkeypatch, 5, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "out", stories, tokenizer=saved, processes=1)
    assert not [name for name in contents(tmp_path / "out") if ".tmp" in name]
    kept = sum(name.endswith(".json") for name in os.listdir(tmp_path / "out" / ".prepare"))
    assert kept == 5 + 1  # and the tokenizer's
    sizes = count_encoded(monkeypatch)
    assert prepare(tmp_path / "out", stories, tokenizer=saved, processes=1) == whole
    assert 0 < sum(sizes) < 400 - 5 * 25
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_damaged_chunks_changed_texts_and_settings_are_noticed(
    tmp_path, stories, saved, small_chunks, monkeypatch
):
    def interrupted() -> None:
        stop_after(monkeypatch, 8, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path / "out", stories, tokenizer=saved, processes=1)

    interrupted()
    work = tmp_path / "out" / ".prepare"
    damaged = work / "data-000002.train.bin"
    damaged.write_bytes(damaged.read_bytes()[::-1])
    (work / "data-000003.json").write_text("{")
    (work / "data-000004.val.bin").unlink()
    sizes = count_encoded(monkeypatch)
    stories.write_text(stories.read_text().replace("0: ", "zero: ", 1))  # the first document
    other = prepare(tmp_path / "out", stories, tokenizer=saved, processes=1)
    assert other == prepare(tmp_path / "whole", stories, tokenizer=saved, processes=1)
    assert 400 - 4 * 40 > sum(sizes) - 400 > 4 * 20
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")

    (tmp_path / "out" / "meta.json").unlink()
    interrupted()
    BytePairTokenizer([], {"<|endoftext|>": 299}).save(tmp_path / "bytes")
    settings = {"tokenizer": str(tmp_path / "bytes"), "processes": 1}
    meta = prepare(tmp_path / "out", stories, **settings)
    assert meta == prepare(tmp_path / "plain", stories, **settings)
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")


def test_a_tokenizer_is_trained_once(tmp_path, stories, small_chunks, monkeypatch):
    stop_after(monkeypatch, 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "out", stories, tokenizer="bpe:290", processes=1)
    with monkeypatch.context() as patch:
        patch.setattr("solutions.tokenizer.train_bpe_fast", None)
        meta = prepare(tmp_path / "out", stories, tokenizer="bpe:290", processes=1)
    assert meta == prepare(tmp_path / "whole", stories, tokenizer="bpe:290", processes=1)


def test_what_came_over_the_network_is_not_fetched_again(
    tmp_path, saved, small_chunks, monkeypatch
):
    rows = ["" if i % 9 == 0 else text for i, text in enumerate(make_stories(400))]
    begun: list[int] = []

    def from_hub(name, config, split, start=0, count=None):
        begun.append(start)
        return iter(rows[start:count])

    monkeypatch.setattr("solutions.engine.sources.hub_documents", from_hub)
    whole = prepare(tmp_path / "whole", "wikipedia", tokenizer=saved, processes=1)
    assert whole["train_documents"] + whole["val_documents"] == sum(map(bool, rows))
    stop_after(monkeypatch, 6, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "out", "wikipedia", tokenizer=saved, processes=1)
    begun.clear()
    assert prepare(tmp_path / "out", "wikipedia", tokenizer=saved, processes=1) == whole
    assert begun[0] == 0  # a look whether both parts will have text
    assert begun[-1] > 150
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_text_damaged_late_keeps_what_was_done(
    tmp_path, stories, saved, small_chunks, monkeypatch
):
    monkeypatch.setattr("solutions.engine.sources._BLOCK", 5_000)
    good = stories.read_bytes()
    stories.write_bytes(good + b"\n<|endoftext|>\xff")
    litter = tmp_path / "out" / ".prepare" / ".data-000001.val.bin.1.tmp"  # of one that was killed
    litter.parent.mkdir(parents=True)
    litter.touch()
    said = refusal(tmp_path / "out", stories, tokenizer=saved, processes=1)
    assert f"not UTF-8 at byte {len(good) + 14}" in said
    assert not list((tmp_path / "out").glob("*.bin"))
    assert not litter.exists()
    stories.write_bytes(good)
    sizes = count_encoded(monkeypatch)
    prepare(tmp_path / "out", stories, tokenizer=saved, processes=1)
    assert 0 < sum(sizes) < 60  # the last chunk, which had the damage


# Disks and helpers.


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
@pytest.mark.parametrize(
    ("limit", "processes"), [(500, 1), (9_000, 1), (9_000, 2), (60_000, 1), (60_000, 2)]
)
def test_a_full_disk_is_one_sentence_and_leaves_no_litter(
    tmp_path, stories, saved, processes, limit
):
    """500 bytes: not even a tokenizer; 9,000: no chunk of tokens; 60,000: no train.bin."""
    code = """
        import resource, sys
        from solutions.engine import shards
        from solutions.engine.errors import CourseError
        from solutions.engine.prepare import prepare
        shards.CHUNK = 30_000
        limit = int(sys.argv[4])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            prepare(sys.argv[1], sys.argv[2], tokenizer=sys.argv[3], processes=int(sys.argv[5]))
        except CourseError as error:
            print(error)
    """
    out = tmp_path / "out"
    out.mkdir()
    (out / "train.bin").write_bytes(b"older, of a call that was killed")
    result = run_python(code, out, stories, saved, limit, processes)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("the disk is full")
    assert result.stdout.count("\n") == 1
    left = contents(out)
    assert left["train.bin"] == b"older, of a call that was killed"
    assert not [name for name in left if name.endswith(".tmp")]
    assert "meta.json" not in left
    prepare(out, stories, tokenizer=saved, processes=1)
    load_prepared(out, verify=True)


def test_a_helper_that_dies_is_one_sentence(tmp_path, stories, saved, small_chunks, monkeypatch):
    plain = shards.Helper._start

    def start(self):
        process = plain(self)
        os.kill(process.pid, signal.SIGKILL)
        return process

    monkeypatch.setattr(shards, "THREADS", 1)  # as for tokenizers that do not work in threads
    monkeypatch.setattr(shards.Helper, "_start", start)
    monkeypatch.setattr(shards, "find_record", lambda *args: time.sleep(0.05))  # nobody is too fast
    said = refusal(tmp_path / "out", stories, tokenizer=saved, processes=2)
    assert "helper process ended early" in said
    monkeypatch.undo()
    prepare(tmp_path / "out", stories, tokenizer=saved, processes=1)
