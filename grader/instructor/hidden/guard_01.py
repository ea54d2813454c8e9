"""Hidden checks for lesson 01, the tokenizer: other merges, other texts, tokenizers that take turns."""

import json
from itertools import pairwise

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from grader.instructor.guards import guard
from lessons.engine.vocabulary import (
    BYTE_ORDER,
    from_letters,
    gpt2_encoding,
    to_letters,
    token_ranks,
)

SECONDS = 5  # for a guard
ALPHABETS = ("xyz", "mnopq é", "ßт\n", "🙂ab", "01'st")


def library(merges, cut=True):
    """A tokenizer of Hugging Face's `tokenizers` with these merges; it may leave the text uncut."""
    vocabulary = {to_letters(token): i for token, i in token_ranks(merges).items()}
    letters = [(to_letters(left), to_letters(right)) for left, right in merges]
    tokenizer = Tokenizer(models.BPE(vocabulary, letters))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cut)
    return tokenizer


def learned_by_library(texts, vocab_size):
    """The merges that `tokenizers` learns from some texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(map(from_letters, pair)) for pair in merges]


def some_merges(draw, letters, count):
    """Merges of nobody's choice: any two tokens may be joined."""
    tokens = [bytes([byte]) for byte in sorted(set(letters.encode("utf-8")))]
    merges = []
    while len(merges) < count:
        left, right = (tokens[draw.integer(0, len(tokens) - 1)] for _ in range(2))
        if left + right not in tokens:
            merges.append((left, right))
            tokens.append(left + right)
    return merges


def words(draw, letters, kinds, length):
    """A text of words that come again and again, some far more often than others."""
    known = [draw.text(letters, draw.integer(1, 7)) for _ in range(kinds)]
    return " ".join(known[draw.integer(0, draw.integer(0, kinds - 1))] for _ in range(length))


@guard("test_longer_tokens", seconds=SECONDS)
def guard_bytes_of_any_tokens(lesson, expect, draw):
    """Two tokenizers take turns over long lists of ids, special tokens among them."""
    made = []
    for letters in ALPHABETS[:2]:
        merges = some_merges(draw, letters, 30)
        special = {"<s>": 300 + draw.integer(0, 9), "</s>": 400 + draw.integer(0, 9)}
        known = [bytes([byte]) for byte in BYTE_ORDER] + [left + right for left, right in merges]
        known = dict(enumerate(known)) | {i: name.encode() for name, i in special.items()}
        made.append((lesson.BPETokenizer(merges, special), known))
    for length in (1, 5, 40, 300, 5):
        for tokenizer, known in made:
            ids = [list(known)[i] for i in draw.ids(len(known), length)]
            right = b"".join(known[i] for i in ids)
            expect(tokenizer.decode_bytes(ids), right, of=f"decode_bytes of {length} ids")
    with expect.raises(KeyError, "for an id that is no token"):
        made[0][0].decode_bytes([0, 299])


@guard("test_broken_characters", seconds=SECONDS)
def guard_text_of_any_ids(lesson, expect, draw):
    """Any ids are a text, whole characters and broken ones, short lists and long."""
    merges = some_merges(draw, "é🙂aт", 20)
    tokenizer = lesson.BPETokenizer(merges)
    known = [bytes([byte]) for byte in BYTE_ORDER] + [left + right for left, right in merges]
    for length in (1, 2, 30, 200):
        ids = [int(i) for i in draw.ids(len(known), length)]
        right = b"".join(known[i] for i in ids).decode("utf-8", errors="replace")
        expect(tokenizer.decode(ids), right, of=f"decode of {length} ids")
    text = draw.text("aé€🙂\u0301ह\n ", 120)
    ids = library(merges, cut=False).encode(text).ids
    expect(tokenizer.decode(ids), text, of="decode of the ids of a text")


@guard("test_pieces_as_the_library_merges_them", seconds=SECONDS)
def guard_pieces_of_other_letters(lesson, expect, draw):
    """Tokenizers with other merges take turns over the same pieces, and over long ones."""
    for letters in ALPHABETS:
        made = []
        for count in (3, 25):
            merges = some_merges(draw, letters, count)
            made.append((lesson.BPETokenizer(merges), library(merges, cut=False)))
        pieces = [draw.text(letters, length) for length in (1, 3, 7, 18, 45)]
        for piece in [*pieces, pieces[2]]:
            for tokenizer, right in made:
                of = f"encode_piece({piece!r})"
                expect(tokenizer.encode_piece(piece), right.encode(piece).ids, of=of)


@guard("test_merges_stay_inside_pieces", seconds=SECONDS)
def guard_texts_of_other_letters(lesson, expect, draw):
    """Long texts of other letters, with merges of nobody's choice, come and go."""
    made = []
    for letters in ("mnop qr", "it's 12\n", "é t\u3000!"):
        merges = some_merges(draw, letters, 25)
        made.append((letters, lesson.BPETokenizer(merges), library(merges)))
    for length in (2, 25, 150):
        for letters, tokenizer, right in made:
            text = draw.text(letters, length)
            ids = right.encode(text).ids
            expect(tokenizer.encode(text), ids, of=f"encode of {length} letters")
            expect(tokenizer.encode(text), ids, of=f"encode of the same {length} letters again")
            expect(tokenizer.decode(ids), text, of="decode of these ids")


@guard("test_ids_are_gpt2s", seconds=60)
def guard_other_texts_in_gpt2s_ids(lesson, expect, draw):
    """GPT-2's ids for words that stand in no check."""
    tokenizer = lesson.BPETokenizer.gpt2()
    some = ["grandmother", " Rabbits", " seventeen", "\n\n", " they've", " Größe", " 2048", " ..."]
    some += [" хлеб", " 猫", " 🐇", " def", " Thursday's", "   ", " antidisestablish"]
    for _ in range(2):
        text = "".join(some[i] for i in draw.random.permutation(len(some))[:7])
        right = gpt2_encoding().encode_ordinary(text)
        expect(tokenizer.encode(text), right, of=f"encode({text!r})")
    expect(tokenizer.decode(right), text, of="decode of these ids")


@guard("test_pairs_as_in_text", seconds=SECONDS)
def guard_merges_of_any_ids(lesson, expect, draw):
    """Any ids, any pair, any new id; runs of one id among them."""
    for count, length in [(2, 40), (5, 90), (1, 11), (1, 12), (50, 300)]:
        names = [40 + 7 * i for i in range(count)]
        ids = tuple(names[i] for i in draw.ids(count, length))
        at = draw.integer(0, length - 2)
        pair, new_id = ids[at : at + 2], draw.integer(1000, 60_000)
        text = "".join(map(chr, ids)).replace("".join(map(chr, pair)), "\uffff")
        right = tuple(new_id if sign == "\uffff" else ord(sign) for sign in text)
        of = f"merge_pair of {length} ids with the pair {pair}"
        expect(lesson.merge_pair(ids, pair, new_id), right, of=of)


@guard("test_counts_of_many_words", seconds=SECONDS)
def guard_counts_of_other_words(lesson, expect, draw):
    """Many words, large counts, and each call counts from nothing."""
    for ids, kinds in [(3, 4), (30, 60), (1, 3), (3, 4)]:
        listed = [tuple(draw.ids(ids, draw.integer(1, 12)).tolist()) for _ in range(kinds)]
        counts = {word: draw.integer(1, 10**6) for word in listed}
        right = {}
        for word, count in counts.items():
            for pair in pairwise(word):
                right[pair] = right.get(pair, 0) + count
        expect(lesson.count_pairs(counts), right, of=f"count_pairs of {len(counts)} words")


@guard("test_training_as_the_library", seconds=SECONDS)
def guard_training_on_other_texts(lesson, expect, draw):
    """Texts of other letters and of any length, one after the other and one of them again."""
    texts = [words(draw, letters, 12, 40) for letters in ("mnopq", "éт", "019'", "abcdefghijkl")]
    texts += [draw.text("uv", 90), words(draw, "xyz", 30, 150)]
    for text in [*texts, texts[0]]:
        size = 257 + draw.integer(5, 30)
        of = f"train_bpe of a text of {len(text)} letters for {size} tokens"
        expect(lesson.train_bpe(text, size), learned_by_library([text], size), of=of)
    some = [text + "\n" for text in texts[1:4]]
    right = learned_by_library(some, 280)
    expect(lesson.train_bpe(some, 280), right, of="train_bpe of three texts")


@guard("test_special_tokens_are_one_id", seconds=SECONDS)
def guard_other_special_tokens(lesson, expect, draw):
    """Special tokens of any name, in any number, between texts of any length."""
    merges = some_merges(draw, "mno <|", 15)
    names = {"<|user|>": 500, "<|bot|>": 501 + draw.integer(0, 9), "(?:.)": 530}
    tokenizer, ordinary = lesson.BPETokenizer(merges, names), library(merges)
    for count in (1, 4, 12):
        right, text = [], ""
        for _ in range(count):
            part = draw.text("mno <|>", draw.integer(0, 9)) + " "
            name = list(names)[draw.integer(0, 2)]
            text += part + name
            right += [*ordinary.encode(part).ids, names[name]]
        of = f"a text with {count} special tokens"
        expect(tokenizer.encode_with_special(text, list(names)), right, of=of)
        expect(tokenizer.encode(text), ordinary.encode(text).ids, of=f"{of}, none allowed")


@guard("test_tiny_parts", seconds=SECONDS)
def guard_parts_of_any_size(lesson, expect, draw):
    """A long text in parts that are cut anywhere."""
    merges = some_merges(draw, "mn' l\né", 20)
    tokenizer, right = lesson.BPETokenizer(merges), library(merges)
    for length in (15, 120, 400):
        text = draw.text("mn' l\né1!", length)
        cuts = sorted({0, length, *draw.ids(length, length // 5).tolist()})
        parts = [text[a:b] for a, b in pairwise(cuts)]
        of = f"encode_iterable of {length} letters in {len(parts)} parts"
        expect(lesson.listed(tokenizer.encode_iterable, parts), right.encode(text).ids, of=of)


@guard("test_fast_learns_the_same", seconds=SECONDS)
def guard_fast_on_other_texts(lesson, expect, draw):
    """The fast way on texts of other letters, one of them twice."""
    texts = [words(draw, "mnopq", 20, 120), draw.text("uv ", 200), words(draw, "éт🙂", 9, 60)]
    for text in [*texts, texts[0]]:
        size = 257 + draw.integer(20, 60)
        of = f"train_bpe_fast of a text of {len(text)} letters for {size} tokens"
        expect(lesson.train_bpe_fast(text, size), learned_by_library([text], size), of=of)
