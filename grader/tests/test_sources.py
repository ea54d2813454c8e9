"""Documents from files of every kind, from the hub (imitated: no test uses the network), and bad
input."""

import json
import random
import shutil
import time
import tracemalloc
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from solutions.engine import hub, sources
from solutions.engine.errors import CourseError
from solutions.engine.sources import cut_stream, documents, split_stream


def read(path, **settings) -> list[str]:
    return list(documents(str(path), **settings))


# .txt


def test_markers_separate_documents(tmp_path):
    path = tmp_path / "stories.txt"
    path.write_text("One.\n\nStill one.\n<|endoftext|>\nTwo.<|endoftext|><|endoftext|> Three <|end")
    assert read(path) == ["One.\n\nStill one.", "Two.", "Three <|end"]
    assert read(path, start=1) == ["Two.", "Three <|end"]


def test_a_file_without_markers_is_one_document(tmp_path):
    path = tmp_path / "BOOK.TXT"
    path.write_text("Chapter 1\n\nIt was night.\n\n\nIt rained.\n")
    assert read(path) == ["Chapter 1\n\nIt was night.\n\n\nIt rained."]


def test_line_ends_and_byte_order_mark(tmp_path):
    path = tmp_path / "windows.txt"
    path.write_bytes("\ufeffOne\r\nline\rmore\n\r\n<|endoftext|>\r\nTwo".encode())
    assert read(path) == ["One\nline\nmore", "Two"]


def test_real_text_is_split_as_python_splits_it(real_text):
    for name, count in (("tinystories-train.txt", 7819), ("tinystories-valid.txt", 3117)):
        path = real_text(name)
        whole = path.read_text(encoding="utf-8").split("<|endoftext|>")
        assert read(path) == [text.strip() for text in whole if text.strip()]
        assert len(read(path)) == count


@pytest.mark.parametrize("block", [1, 2, 3, 5, 13, 64])
def test_blocks_may_end_anywhere(tmp_path, monkeypatch, block):
    """In the middle of a letter, of a line end, of a marker."""
    monkeypatch.setattr(sources, "_BLOCK", block)
    chance = random.Random(block)
    path = tmp_path / "mixed.txt"
    for _ in range(40):
        tokens = [
            "a",
            "é",
            "👋",
            "\r\n",
            "\n",
            " ",
            "<|endoftext|>",
            "<|end",
            "oftext|>",
            "<",
            "<|",
        ]
        text = "".join(chance.choices(tokens, k=40))
        path.write_bytes(text.encode())
        plain = text.replace("\r\n", "\n").split("<|endoftext|>")
        expected = [document.strip() for document in plain if document.strip()]
        if expected:
            assert read(path) == expected


def test_a_huge_file_without_markers_is_cut_at_blank_lines(tmp_path, monkeypatch):
    paragraphs = [f"Paragraph {i}: " + "words and words " * (i % 40) for i in range(3000)]
    text = "\n\n".join(paragraphs)
    path = tmp_path / "book.txt"
    path.write_text(text)
    assert len(read(path)) == 1
    monkeypatch.setattr(sources, "_ONE_DOCUMENT", 1 << 20)
    found = read(path)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(document.startswith("Paragraph") for document in found)
    assert all(1 << 16 <= len(document) < 1 << 17 for document in found[:-1])


@pytest.mark.parametrize("between", ["\n", " ", ""])
def test_where_there_is_no_blank_line_it_is_cut_elsewhere(between):
    text = between.join(["wordword"] * 3000)
    for size in (1, 7, 1000, 10**6):
        parts = [text[i : i + size] for i in range(0, len(text), size)]
        found = list(cut_stream(parts, 100, 500))
        assert "".join(found) == text
        assert all(100 <= len(document) <= 500 for document in found[:-1])
        if between:
            assert all(document.strip().endswith("wordword") for document in found)
    assert next(cut_stream(["a" * 120 + "\n\n" + "b" * 5000], 100, 500)) == "a" * 120


def test_streams_take_no_quadratic_time():
    began = time.process_time()
    block = "no marker and no line end " * 2000
    found = list(split_stream((block for _ in range(1000)), "<|endoftext|>"))  # 52 MB
    assert [len(document) for document in found] == [len(block) * 1000]
    assert sum(map(len, cut_stream((block for _ in range(500)), 1 << 16, 4 << 20))) == 26_000_000
    assert time.process_time() - began < 5


@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_one_giant_line_works(tmp_path, suffix):
    began = time.process_time()
    path = tmp_path / f"giant.{suffix}"
    line = "the cat sat on the mat " * 2_200_000  # 50 MB
    path.write_text(line if suffix == "txt" else json.dumps({"text": line}))
    assert sum(len(document.split()) for document in documents(str(path))) == 6 * 2_200_000
    assert time.process_time() - began < 20


def test_many_documents_need_little_memory(tmp_path):
    path = tmp_path / "many.txt"
    path.write_text("A story of some words.\n<|endoftext|>\n" * 400_000)  # 15 MB
    tracemalloc.start()
    try:
        assert sum(1 for _ in documents(str(path))) == 400_000
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


# .jsonl, .parquet, folders


def test_jsonl_fields_strings_and_blank_lines(tmp_path):
    path = tmp_path / "some.jsonl"
    rows = [
        {"text": "One\r\n"},
        {"story": "Two"},
        {"content": "Three", "id": 3},
        "Four",
        {"text": ""},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + '\n\n   \n{"text": "half \\ud83d pair"}\n')
    assert read(path) == ["One", "Two", "Three", "Four", "half \ufffd pair"]


@pytest.mark.parametrize("column", ["text", "story", "content"])
def test_parquet_columns(tmp_path, column):
    path = tmp_path / "some.parquet"
    texts = ["One\r\nline", None, "", "  Two  ", *(f"Story {i}" for i in range(2500))]
    table = pa.table({"id": range(len(texts)), column: pa.array(texts, pa.large_string())})
    pq.write_table(table, path, row_group_size=700)
    assert read(path) == ["One\nline", "Two", *texts[4:]]


def test_folders_are_read_in_order_of_names(tmp_path):
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "b" / "deep" / "1.txt").write_text("third")
    (tmp_path / "a.jsonl").write_text('{"text": "first"}')
    (tmp_path / "a.txt").write_text("second")
    pq.write_table(pa.table({"text": ["fourth"]}), tmp_path / "b" / "z.parquet")
    (tmp_path / "README.md").write_text("not read")
    (tmp_path / ".hidden.txt").write_text("not read")
    (tmp_path / "empty.txt").write_text("")
    assert read(tmp_path) == ["first", "second", "third", "fourth"]


# Bad input: one sentence each.


def refusal(path, **settings) -> str:
    with pytest.raises(CourseError) as error:
        read(path, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("spec", ["tinystory", "no/such/file.txt"])
def test_unknown_names_list_the_right_ones(spec):
    said = refusal(spec)
    assert spec in said
    for choice in (
        ".txt",
        ".jsonl",
        ".parquet",
        "folder",
        "ministories",
        "tinystories",
        "wikipedia",
    ):
        assert choice in said
    with pytest.raises(CourseError):  # at once, not when the first document is asked for
        documents(spec)


def test_empty_files_and_folders(tmp_path):
    path = tmp_path / "some.txt"
    path.touch()
    assert f"{path} is empty" in refusal(path)
    assert "no text in" in refusal(tmp_path)
    path.write_text(" \n<|endoftext|>\n \n")
    assert "nothing but white space" in refusal(path)
    (tmp_path / "picture.png").write_bytes(b"x")
    assert ".txt, .jsonl, .parquet" in refusal(tmp_path / "picture.png")
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    assert ".txt, .jsonl, .parquet" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "offset"),
    [
        (b"caf\xe9 noir", 3),
        (b"\xff\xfeh\x00i\x00", 0),
        (b"x" * (1 << 20) + b"\x80", 1 << 20),
        ("é".encode() * (1 << 19) + b"ok" + b"\xc3(", (1 << 20) + 2),
        (b"x" * ((1 << 20) - 1) + b"\xc3\xc3", (1 << 20) - 1),
        (b"ends in the middle \xf0\x9f\x91", 19),
    ],
)
def test_not_utf8_names_file_and_byte(tmp_path, content, offset):
    path = tmp_path / "latin.txt"
    path.write_bytes(content)
    assert f"{path} is not UTF-8 at byte {offset};" in refusal(path)
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' + content)
    assert f"{path} is not UTF-8 at byte {offset + 17};" in refusal(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "cut o', "line 3 is no JSON"),
        ("just words", "line 3 is no JSON"),
        ("[" * 100_000, "line 3 is no JSON"),
        ('{"title": "no text"}', "line 3 has no text"),
        ('{"text": 5}', "line 3 has no text"),
        ("[1, 2]", "line 3 has no text"),
    ],
)
def test_broken_lines_are_named(tmp_path, line, said):
    path = tmp_path / "broken.jsonl"
    path.write_text(f'{{"text": "fine"}}\n\n{line}\n{{"text": "never reached"}}\n')
    assert said in refusal(path)


def test_broken_parquet(tmp_path):
    path = tmp_path / "some.parquet"
    path.write_bytes(b"PAR1 no parquet")
    assert f"{path} is no parquet file" in refusal(path)
    pq.write_table(pa.table({"title": ["x"], "text": [5]}), path)
    said = refusal(path)
    assert "no column of text named text, story, content" in said
    assert "title, text" in said
    pq.write_table(pa.table({"text": [f"{i * i} words " * 50 for i in range(3000)]}), path)
    content = path.read_bytes()
    path.write_bytes(content[:500] + bytes(len(content) - 700) + content[-200:])
    assert f"{path} is no parquet file" in refusal(path)


# ministories


def test_ministories_are_seeded_and_kept_apart():
    train = read("ministories", count=90)
    valid = read("ministories", part="valid", count=90)
    assert len(train) == len(set(train)) == 90
    assert len(valid) == 10
    assert not set(train) & set(valid)
    assert read("ministories", count=90) == train
    assert read("ministories", count=90, start=80) == train[80:]
    assert read("ministories", count=90, seed=1) != train
    assert len(list(islice(documents("ministories"), 100))) == 100


# The hub


class FakeHub:
    """In place of `load_dataset`: real `datasets` objects that break off where they are told to."""

    def __init__(self, rows: list[str], breaks: list[int]) -> None:
        self.rows, self.breaks, self.opened = rows, breaks, []

    def load_dataset(self, name, config=None, *, split, streaming=False):
        from datasets import IterableDataset

        self.opened.append((name, config, split, streaming))

        def generate():
            for i, text in enumerate(self.rows):
                if self.breaks and i == self.breaks[0]:
                    self.breaks.pop(0)
                    raise ConnectionError("the line went dead\nsecond line")
                yield {"text": text}

        return IterableDataset.from_generator(generate)


@pytest.fixture
def fake_hub(monkeypatch):
    def install(rows, breaks=()):
        fake = FakeHub(rows, list(breaks))
        monkeypatch.setattr("datasets.load_dataset", fake.load_dataset)
        monkeypatch.setattr(hub, "hub_is_reachable", lambda: True)
        monkeypatch.setattr(hub, "WAITS", (0.0, 0.0, 0.0))
        return fake

    return install


ROWS = [f" Story {i}.\n" if i % 7 else "" for i in range(40)]


def test_streams_go_on_after_interruptions(fake_hub):
    fake = fake_hub(ROWS, breaks=[0, 5, 5, 5, 23])
    assert read("tinystories") == [row.strip() for row in ROWS]
    assert set(fake.opened) == {("roneneldan/TinyStories", None, "train", True)}
    assert len(fake.opened) == 6


def test_streams_begin_where_asked_and_end_at_the_count(fake_hub):
    fake_hub(ROWS)
    assert read("tinystories", start=30) == [row.strip() for row in ROWS[30:]]
    assert read("tinystories", start=10, count=13) == [row.strip() for row in ROWS[10:13]]


def test_parts_and_configurations(fake_hub):
    fake = fake_hub(ROWS)
    assert len(read("tinystories", part="valid", count=90)) == 10
    assert len(read("wikipedia", count=3)) == 3
    assert fake.opened == [
        ("roneneldan/TinyStories", None, "validation", True),
        ("wikimedia/wikipedia", "20231101.en", "train", True),
    ]


def test_a_line_that_stays_dead_is_one_sentence(fake_hub):
    fake_hub(ROWS, breaks=[12] * 50)
    stream = documents("tinystories")
    assert len(list(islice(stream, 12))) == 12
    with pytest.raises(CourseError, match="broke off at document 12") as error:
        next(stream)
    assert "\n" not in str(error.value)
    assert "run the same command again" in str(error.value)


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """A hub that refuses connections, and an empty cache."""
    import datasets

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ["tinystories", "wikipedia"])
def test_without_network_it_says_how_to_go_on(no_hub, name):
    began = time.monotonic()
    said = refusal(name)
    assert "--data ministories" in said
    assert time.monotonic() - began < 10


def test_a_hub_that_hangs_is_given_up(no_hub, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: time.sleep(3))
    monkeypatch.setattr(hub, "REACH_SECONDS", 0.3)
    began = time.monotonic()
    assert "--data ministories" in refusal("tinystories")
    assert time.monotonic() - began < 5


def test_without_network_the_cache_is_used(no_hub, tmp_path):
    """A dataset in the cache of the real library, as an earlier download leaves it."""
    import datasets
    from huggingface_hub import constants

    switches = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    lines = tmp_path / "train.jsonl"
    lines.write_text('{"text": "One."}\n{"text": "Two."}\n{"text": "Three."}\n')
    datasets.load_dataset("json", data_files={"train": str(lines)}, cache_dir=str(no_hub))
    made = next((no_hub / "json").glob("default-*"))
    kept = no_hub / "roneneldan___tiny_stories" / "default"
    shutil.copytree(made, kept)
    for file in list(kept.rglob("*")):
        if file.suffix == ".arrow":
            file.rename(file.with_name(file.name.replace("json", "tiny_stories")))
        elif file.name == "dataset_info.json":
            info = json.loads(file.read_text())
            file.write_text(json.dumps(info | {"dataset_name": "tiny_stories"}))
    assert read("tinystories") == ["One.", "Two.", "Three."]
    assert read("tinystories", start=1, count=2) == ["Two."]
    assert switches == (datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE)


def test_reachable(monkeypatch):
    asked = []
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub, "fetch", lambda url, seconds: asked.append((url, seconds)) or b"")
    assert hub.hub_is_reachable()
    assert asked == [("https://huggingface.co/robots.txt", 10.0)]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not hub.hub_is_reachable()
    assert len(asked) == 1
