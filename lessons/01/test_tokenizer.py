"""Checks for lesson 01, the tokenizer. Which step turns which check green:

1. BPETokenizer.decode_bytes      test_single_bytes, test_longer_tokens, test_ids_that_are_no_tokens
2. BPETokenizer.decode            test_characters_cut_in_two, test_broken_characters
3. BPETokenizer.encode_piece      test_earliest_merge_first, test_merging_goes_on,
                                  test_leftmost_of_equals, test_pieces_as_the_library_merges_them
4. BPETokenizer.encode            test_merges_stay_inside_pieces, test_ids_are_gpt2s,
                                  test_every_text_comes_back, test_special_names_are_ordinary
5. merge_pair                     test_pairs_by_hand, test_pairs_as_in_text
6. count_pairs                    test_places_and_words, test_counts_of_many_words
7. train_bpe                      test_training_by_hand, test_vocabulary_has_its_size,
                                  test_training_as_the_library, test_several_texts
stretch  encode_with_special      test_special_tokens_are_one_id, test_longer_name_wins,
                                  test_only_allowed_names
stretch  encode_iterable          test_tiny_parts, test_first_ids_come_early, test_endless_piece
stretch  train_bpe_fast           test_fast_learns_the_same, test_fast_ends_the_same,
                                  test_fast_is_fast
"""

import json
import os
from itertools import pairwise

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from grader.checks import check
from lessons.engine.vocabulary import from_letters, gpt2_encoding, to_letters, token_ranks

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the library's threads outlive no fork

SECONDS = 5  # for a check; all of them together take about one
END = "<|endoftext|>"

# GPT-2 numbers the bytes that print as one visible letter first.
BYTES = bytes(
    [*range(33, 127), *range(161, 173), *range(174, 256), *range(33), *range(127, 161), 173]
)


def byte_ids(text):
    """The ids of a text before any merging."""
    return [BYTES.index(byte) for byte in text.encode("utf-8")]


def pairs(text):
    """Merges, written as "h e, he _": the parts apart by a space, and "_" for a space in them."""
    split = [pair.split(" ") for pair in text.split(", ")]
    return [tuple(part.replace("_", " ").encode() for part in pair) for pair in split]


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


def story(draw, length):
    """Words that come again and again, some far more often than others."""
    words = [draw.text("abehnot", draw.integer(1, 6)) for _ in range(25)]
    words += ["aaaaaaa", "bebebe", "12", "é", "it's", "\n"]
    return " ".join(words[draw.integer(0, draw.integer(0, 30))] for _ in range(length))


# 1. decode_bytes


@check("BPETokenizer.decode_bytes", points=1)
def test_single_bytes(lesson, expect, draw):
    """The first 256 ids are the single bytes, in an order of GPT-2's own."""
    tokenizer = lesson.BPETokenizer([])
    question = 'Which byte is id 0? (It is "!", the byte 33.)'
    expect(
        tokenizer.decode_bytes([0, 64, 220]), b"!a ", of="decode_bytes([0, 64, 220])", ask=question
    )
    ids = draw.random.permutation(256).tolist()
    right = bytes(BYTES[i] for i in ids)
    expect(tokenizer.decode_bytes(ids), right, of="decode_bytes of the ids 0 to 255, shuffled")
    expect(tokenizer.decode_bytes([]), b"", of="decode_bytes([])")


@check("BPETokenizer.decode_bytes", points=1)
def test_longer_tokens(lesson, expect, draw):
    """Merged tokens and special ones stand for several bytes each."""
    tokenizer = lesson.BPETokenizer(pairs("t h, th e, _ the"))
    ids = [257, 0, 258, 256, 64, 259, 257]
    right = b"the! theth" + b"a<|endoftext|>the"
    expect(tokenizer.decode_bytes(ids), right, of=f"decode_bytes({ids})")
    # something that gives one id after the other, as `encode_iterable` will
    question = "Do you use more of `ids` than that a loop can walk through it, once?"
    one_by_one = lesson.toy("pieces", ids)
    expect(
        tokenizer.decode_bytes(one_by_one), right, of="decode_bytes of an iterator", ask=question
    )


@check("BPETokenizer.decode_bytes", points=1)
def test_ids_that_are_no_tokens(lesson, expect, draw):
    """An id that does not exist is an error that somebody must hear of."""
    tokenizer = lesson.BPETokenizer(pairs("t h"), {"<a>": 300})
    for wrong in (257, 299, 301, -1):
        with expect.raises(KeyError, f"for the id {wrong}, which is no token"):
            tokenizer.decode_bytes([0, wrong])


# 2. decode


@check("BPETokenizer.decode", points=1)
def test_characters_cut_in_two(lesson, expect, draw):
    """A character whose bytes lie in several tokens comes out whole."""
    tokenizer = lesson.BPETokenizer([(b"\x9f", b"\x91"), (b"\x8b", b"\xc3")])  # inside 👋é
    text = "👋é"
    ids = [*byte_ids(text)[:1], 256, 257, *byte_ids(text)[5:]]
    question = "What are the bytes of one token alone, when its character goes on in the next?"
    expect(tokenizer.decode(ids), text, of=f"decode({ids})", ask=question)
    for text in ("\ufeffa\r\nb", draw.text("aé€👋\u0301ह\n", 30), END, ""):
        ids = byte_ids(text)
        expect(tokenizer.decode(ids), text, of=f"the text of the bytes of {text!r}", ask=question)
    expect(tokenizer.decode([64, 258, 65]), f"a{END}b", of="decode([64, 258, 65])")


@check("BPETokenizer.decode", points=1)
def test_broken_characters(lesson, expect, draw):
    """A model may write any bytes: what is no character becomes a sign, never an error."""
    tokenizer = lesson.BPETokenizer([])
    question = "What does the argument `errors` of `bytes.decode` say?"
    half = byte_ids("aé")[:2]
    expect(tokenizer.decode(half), "a\ufffd", of='decode of "a" and half of "é"', ask=question)
    for _ in range(5):
        ids = draw.ids(256, 12).tolist()
        right = bytes(BYTES[i] for i in ids).decode("utf-8", errors="replace")
        expect(tokenizer.decode(ids), right, of=f"decode({ids})", ask=question)


# 3. encode_piece


@check("BPETokenizer.encode_piece", points=1, seconds=SECONDS)
def test_earliest_merge_first(lesson, expect, draw):
    """Not the longest token wins, nor the leftmost pair: always the merge learned earliest."""
    tokenizer = lesson.BPETokenizer(pairs("b c, a b, ab c, c a, x y, y z, x yz"))
    question = "Which pairs of neighbours have a merge, and which of these merges is the earliest?"
    for piece, right in {
        "b": [65],
        "ba": [65, 64],
        "ab": [257],
        "abc": [64, 256],
        "cab": [66, 257],
        "abca": [64, 256, 64],
        "bcab": [256, 257],
        "xyz": [260, 89],
        "": [],
    }.items():
        expect(tokenizer.encode_piece(piece), right, of=f"encode_piece({piece!r})", ask=question)


@check("BPETokenizer.encode_piece", points=1, seconds=SECONDS)
def test_merging_goes_on(lesson, expect, draw):
    """What was merged can be merged again, until no merge is left."""
    tokenizer = lesson.BPETokenizer(pairs("l o, e r, lo w, low er, _ low"))
    for piece, right in {
        "low": [258],
        "lower": [259],
        " lower": [220, 259],
        " low": [260],
        "lowlow": [258, 258],
        "lowe": [258, 68],
    }.items():
        question = "Does your loop look at the neighbours again after each merge?"
        expect(tokenizer.encode_piece(piece), right, of=f"encode_piece({piece!r})", ask=question)


@check("BPETokenizer.encode_piece", points=1, seconds=SECONDS)
def test_leftmost_of_equals(lesson, expect, draw):
    """Where one pair stands at several places, the first place is merged first."""
    tokenizer = lesson.BPETokenizer(pairs("a a"))
    for length in (2, 3, 4, 7):
        right = [256] * (length // 2) + [64] * (length % 2)
        piece = "a" * length
        question = 'Which two letters of "aaa" become one token?'
        expect(tokenizer.encode_piece(piece), right, of=f"encode_piece({piece!r})", ask=question)
    ids = lesson.BPETokenizer([]).encode_piece("aa")
    question = "Does this tokenizer remember what another one did?"
    expect(ids, [64, 64], of="encode_piece('aa') of a tokenizer without merges", ask=question)


@check("BPETokenizer.encode_piece", points=1, seconds=SECONDS)
def test_pieces_as_the_library_merges_them(lesson, expect, draw):
    """Any piece, any merges: the ids are those of Hugging Face's tokenizers."""
    for letters in ("ab", "abcé", "a👋", "a¤"):
        merges = some_merges(draw, letters, 12)
        tokenizer, right = lesson.BPETokenizer(merges), library(merges, cut=False)
        for length in (1, 2, 5, 9, 30):
            piece = draw.text(letters, length)
            of = f"encode_piece({piece!r}) with the merges {merges}"
            expect(tokenizer.encode_piece(piece), right.encode(piece).ids, of=of)


# 4. encode


@check("BPETokenizer.encode", points=1, seconds=SECONDS)
def test_merges_stay_inside_pieces(lesson, expect, draw):
    """Words are merged on their own: no token holds the end of one and the start of the next."""
    merges = pairs("e _, _ t, h e, t he, _ _, ' s, _t he, 1 2, s !")
    tokenizer, right = lesson.BPETokenizer(merges), library(merges)
    texts = [
        "the the",
        "the  see",
        "see  the\n\n the ",
        "it's 12! 123's!!",
        draw.text("the s'1!\n", 40),
        "",
    ]
    for text in texts:
        question = "Into which pieces does split_text cut this text, and what becomes of each?"
        expect(tokenizer.encode(text), right.encode(text).ids, of=f"encode({text!r})", ask=question)


# The 60 s are for who tries all 50,000 merges of GPT-2 on every piece: slow, but right.


@check("BPETokenizer.encode", points=1, seconds=60)
def test_ids_are_gpt2s(lesson, expect, draw):
    """With GPT-2's merges you get GPT-2's ids, as tiktoken gives them."""
    tokenizer = lesson.BPETokenizer.gpt2()
    expect(
        tokenizer.encode("Once upon a time"),
        [7454, 2402, 257, 640],
        of='encode("Once upon a time")',
    )
    for text in (
        "The dog's collar wasn't unbelievably expensive, they said.",
        "    for i in range(10):\n\tprint(i ** 2)",
        "Straße, naïve, данные, 日本語",
    ):
        right = gpt2_encoding().encode_ordinary(text)
        expect(tokenizer.encode(text), right, of=f"encode({text!r})")


@check("BPETokenizer.encode", points=1, seconds=60)
def test_every_text_comes_back(lesson, expect, draw):
    """Every text in every script has ids, and they lead back to exactly this text."""
    tokenizer = lesson.BPETokenizer.gpt2()
    for text in (
        "\0 \r\n \x0b\x85 \u00a0\u2003x \u3000",
        "''ll 'S I'M we'Ve 'tis ' 's",
        "1٣² ½ 3.14",
        "e\u0301 \u0301 é",  # the same two letters in two ways
        "👨\u200d👩\u200d👧 🇩🇪 👍🏽 \ufeff\ufffd\U0010ffff",
        draw.text("aé'l \n1€\u0301👋ह\t中", 12),
    ):
        ids = gpt2_encoding().encode_ordinary(text)
        expect(tokenizer.encode(text), ids, of=f"encode({text!r})")
        expect(tokenizer.decode(ids), text, of="decode of these ids")


@check("BPETokenizer.encode", points=1, seconds=SECONDS)
def test_special_names_are_ordinary(lesson, expect, draw):
    """Whoever types <|endoftext|> ends nothing by it; half a character is no text at all."""
    merges = pairs("< |, | >, e n, en d")
    tokenizer, right = lesson.BPETokenizer(merges), library(merges)
    for text in (END, f"the end{END}{END} the end", "<|endoftext"):
        question = "Nobody has allowed a special token. Is it still the name's own id?"
        expect(tokenizer.encode(text), right.encode(text).ids, of=f"encode({text!r})", ask=question)
    with expect.raises(UnicodeEncodeError, "for half of a surrogate pair"):
        tokenizer.encode("a\ud83d")


# 5. merge_pair


@check("merge_pair", points=1, seconds=SECONDS)
def test_pairs_by_hand(lesson, expect, draw):
    """A new id takes the place of each pair, from left to right, and nothing is lost."""
    for ids, pair, right in [
        ((1, 2, 3, 1, 2), (1, 2), (300, 3, 300)),
        ((2, 1, 3), (1, 2), (2, 1, 3)),
        ((7, 7, 7), (7, 7), (300, 7)),
        ((7, 7, 7, 7), (7, 7), (300, 300)),
        ((3, 1), (1, 2), (3, 1)),
        ((5,), (5, 5), (5,)),
        ((), (1, 2), ()),
    ]:
        question = "After a pair was found, at which place does the walk go on?"
        expect(
            lesson.merge_pair(ids, pair, 300),
            right,
            of=f"merge_pair({ids}, {pair}, 300)",
            ask=question,
        )


@check("merge_pair", points=1, seconds=SECONDS)
def test_pairs_as_in_text(lesson, expect, draw):
    """It is what str.replace does, with ids for letters."""
    for left, right, length in [(0, 1, 9), (1, 0, 20), (1, 1, 12), (2, 2, 300)]:
        ids = tuple(draw.ids(3, length).tolist())
        text = "".join(map(chr, ids)).replace(chr(left) + chr(right), chr(999))
        of = f"merge_pair({ids}, {(left, right)}, 999)"
        expect(lesson.merge_pair(ids, (left, right), 999), tuple(map(ord, text)), of=of)


# 6. count_pairs


@check("count_pairs", points=1, seconds=SECONDS)
def test_places_and_words(lesson, expect, draw):
    """A pair counts at every place where it stands, in every occurrence of its word."""
    for words, right in [
        ({(1, 2, 3): 1}, {(1, 2): 1, (2, 3): 1}),
        ({(1, 2): 5, (3, 1, 2): 2}, {(1, 2): 7, (3, 1): 2}),
        ({(7, 7, 7): 2, (7, 8): 3}, {(7, 7): 4, (7, 8): 3}),
        ({(1, 2, 1, 2): 10, (9,): 100}, {(1, 2): 20, (2, 1): 10}),
        ({}, {}),
    ]:
        question = (
            "How often does each word occur, and at how many of its places does the pair stand?"
        )
        expect(lesson.count_pairs(words), right, of=f"count_pairs({words})", ask=question)


@check("count_pairs", points=1, seconds=SECONDS)
def test_counts_of_many_words(lesson, expect, draw):
    """Written out word by word, as often as each occurs, the text has just as many pairs."""
    words = {tuple(draw.ids(4, n).tolist()): draw.integer(1, 9) for n in (1, 2, 3, 5, 8, 13)}
    places = [pair for ids, count in words.items() for _ in range(count) for pair in pairwise(ids)]
    right = {pair: places.count(pair) for pair in places}
    expect(lesson.count_pairs(words), right, of=f"count_pairs({words})")


# 7. train_bpe


@check("train_bpe", points=1, seconds=SECONDS)
def test_training_by_hand(lesson, expect, draw):
    """The most frequent pair first; of equals the one with the lowest ids."""
    # The words are "hug", " pug" and " hugs": u g stands in all three, then h ug in two. All that
    # is left occurs once, so ids decide: p is 79, the space 220, hug 257, pug 258, " hug" 259.
    right = pairs("u g, h ug, p ug, _ hug, _ pug, _hug s")
    question = "Which pair is the most frequent now, and which of several such has the lowest ids?"
    merges = lesson.train_bpe("hug pug hugs", 259)
    expect(merges, right[:2], of='train_bpe("hug pug hugs", 259)', ask=question)
    merges = lesson.train_bpe("hug pug hugs", 263)
    expect(merges, right, of='train_bpe("hug pug hugs", 263)', ask=question)


@check("train_bpe", points=1, seconds=SECONDS)
def test_vocabulary_has_its_size(lesson, expect, draw):
    """256 bytes, the merges and <|endoftext|> make vocab_size tokens; fewer where words run out."""
    for text, vocab_size, right in [
        ("aaaa", 257, ""),
        ("aaaa", 258, "a a"),
        ("aaaa", 515, "a a, aa aa"),
        ("\n", 1000, ""),
        ("", 1000, ""),
    ]:
        question = "How many tokens are there before the first merge, and which one comes last?"
        of = f"train_bpe({text!r}, {vocab_size})"
        expect(
            lesson.train_bpe(text, vocab_size), pairs(right) if right else [], of=of, ask=question
        )
    with expect.raises(ValueError, "for a vocab_size of 256"):
        lesson.train_bpe("aaaa", 256)


@check("train_bpe", points=2, seconds=SECONDS)
def test_training_as_the_library(lesson, expect, draw):
    """From the same text you learn what Hugging Face's tokenizers learns, ties included."""
    random_words = " ".join(draw.text("abcdefghi", 4) for _ in range(120))
    for text, vocab_size in [(story(draw, 20), 300), (story(draw, 150), 330), (random_words, 520)]:
        right = learned_by_library([text], vocab_size)
        of = f"train_bpe of a text of {len(text)} letters, {text[:30]!r} ..."
        question = "Here many pairs are equally frequent. Which one do you take?"
        expect(lesson.train_bpe(text, vocab_size), right, of=of, ask=question)
        ids = library(right).encode(text).ids
        of = "encode of that text, with these merges"
        expect(lesson.BPETokenizer(right).encode(text), ids, of=of)


@check("train_bpe", points=1, seconds=SECONDS)
def test_several_texts(lesson, expect, draw):
    """Of many texts each is cut on its own, also where they come one by one."""
    texts = ["low lower", "lowest", "newer newest", "\n\n", "\nlow"]
    right = learned_by_library(texts, 290)
    question = "Is the last word of a text joined with the first of the next?"
    expect(lesson.train_bpe(texts, 290), right, of=f"train_bpe({texts}, 290)", ask=question)
    one_by_one = lesson.toy("pieces", texts)
    expect(
        lesson.train_bpe(one_by_one, 290),
        right,
        of="train_bpe of these texts from an iterator",
        ask=question,
    )


# stretch


@check("BPETokenizer.encode_with_special", points=1, seconds=SECONDS)
def test_special_tokens_are_one_id(lesson, expect, draw):
    """An allowed special token is one id; the text around it is encoded as ever."""
    merges = pairs("e _, _ t, h e, t he, _ _, < |")
    tokenizer, ordinary = lesson.BPETokenizer(merges), library(merges)
    for parts in (
        [END],
        ["the", END, "the"],
        ["the  ", END, END, "  the the\n\n", END],
        ["<|endof", END, "text|>"],
        ["no end, only <|endoftext"],
        [""],
    ):
        right = []
        for part in parts:
            right += [256 + len(merges)] if part == END else ordinary.encode(part).ids
        text = "".join(parts)
        of = f"{text!r} with <|endoftext|> allowed"
        expect(tokenizer.encode_with_special(text, [END]), right, of=of)
        expect(tokenizer.encode(text, {END}), right, of=f"encode of {of}")


@check("BPETokenizer.encode_with_special", points=1, seconds=SECONDS)
def test_longer_name_wins(lesson, expect, draw):
    """Names that begin alike, overlap, or look like patterns are found as they stand."""
    names = {"<|a|>": 300, "<|a|>+": 301, ".*": 302, "+<": 303, "[x]": 304, "<": 305}
    tokenizer = lesson.BPETokenizer([], names)
    question = "Which name begins first, and which of those that begin there is the longest?"
    for text, right in {
        "<|a|>+<|a|>.*": [301, 300, 302],
        "+<|a|>": [303, *byte_ids("|a|>")],
        "<|b|>[x]x": [305, *byte_ids("|b|>"), 304, *byte_ids("x")],
    }.items():
        of = f"{text!r} with the names {names}"
        expect(tokenizer.encode_with_special(text, list(names)), right, of=of, ask=question)
        backwards = tuple(reversed(names))
        expect(tokenizer.encode_with_special(text, backwards), right, of=of, ask=question)


@check("BPETokenizer.encode_with_special", points=1, seconds=SECONDS)
def test_only_allowed_names(lesson, expect, draw):
    """Who allows one name has not allowed the others, and a name that does not exist is a slip."""
    tokenizer = lesson.BPETokenizer(pairs("h _, t h"), {"<a>": 300, "<b>": 301})
    text = "<a>th th<b>"
    one = [300, 257, 220, 257, *byte_ids("<b>")]
    expect(tokenizer.encode_with_special(text, ["<a>"]), one, of=f"{text!r} with <a> allowed")
    none = [*byte_ids("<a>"), *one[1:]]
    question = "At how many places does an empty pattern match?"
    of = f"{text!r} with nothing allowed"
    expect(tokenizer.encode_with_special(text, ()), none, of=of, ask=question)
    expect(tokenizer.encode(text), none, of=f"encode({text!r})")
    for wrong in (["<c>"], ["<a>", "<c>"], [END]):
        with expect.raises(ValueError, f"for allowed_special={wrong}"):
            tokenizer.encode_with_special(text, wrong)


@check("BPETokenizer.encode_iterable", points=1, seconds=SECONDS)
def test_tiny_parts(lesson, expect, draw):
    """However a text is cut into parts, the ids are those of the whole."""
    merges = pairs("l l, ' ll, ' l, _ _, \n \n, h e, _ ', v e, _ \n")
    tokenizer, right = lesson.BPETokenizer(merges), library(merges)
    units = ["'", "l", "'ll", " ", "  ", "\n", "v", "e", "he", "1", "é", "!", "👋"]
    drawn = ["".join(units[i] for i in draw.ids(len(units), 40)) for _ in range(6)]
    for text in ["he'll  help\n\n\nhelp", "''ll 'll l'l \n \n", "l\n\nhe 've", *drawn, ""]:
        for size in (1, 2, 3, 7):
            parts = [text[i : i + size] for i in range(0, len(text), size)]
            ids = lesson.listed(tokenizer.encode_iterable, [*parts, ""])
            question = "Which of the last pieces may still change when the next part comes?"
            of = f"encode_iterable of {text!r} in parts of {size}"
            expect(ids, right.encode(text).ids, of=of, ask=question)


@check("BPETokenizer.encode_iterable", points=1, seconds=SECONDS)
def test_first_ids_come_early(lesson, expect, draw):
    """The first ids are there long before the last text is: a book need not fit into memory."""
    tokenizer = lesson.BPETokenizer([])
    texts = lesson.toy("pieces", [" incomprehensibilities"] * 2000)
    ids = lesson.listed(tokenizer.encode_iterable, texts, first=50)
    expect(ids, byte_ids(" incomprehensibilities" * 3)[:50], of="the list of the first 50 ids")
    taken = texts.read("taken")
    symptom = "more than half of 2,000 texts are read before the first 50 ids come out"
    expect.true(taken <= 1000, symptom, ask="Where do you join the texts?")


@check("BPETokenizer.encode_iterable", points=1, seconds=4)
def test_endless_piece(lesson, expect, draw):
    """A piece that never ends is not cut again at every letter."""
    # a text is its letters, one by one: 0.1 s if you wait for more of them, 20 s if you do not
    tokenizer = lesson.BPETokenizer([])
    ids = lesson.listed(tokenizer.encode_iterable, "a" * 100_000, first=3)
    expect(ids, [64, 64, 64], of="the list of the first three ids")


@check("train_bpe_fast", points=1, seconds=SECONDS)
def test_fast_learns_the_same(lesson, expect, draw):
    """Not one merge is another, however the counts rise and fall on the way."""
    for text in (
        story(draw, 200),
        draw.text("aab  \né", 300),
        " ".join(draw.text("ab", 6) for _ in range(40)),
    ):
        right = learned_by_library([text], 330)
        of = f"train_bpe_fast of a text of {len(text)} letters, {text[:30]!r} ..."
        question = "Which counts does a merge change, and are all of these in the heap again?"
        expect(lesson.train_bpe_fast(text, 330), right, of=of, ask=question)


@check("train_bpe_fast", points=1, seconds=SECONDS)
def test_fast_ends_the_same(lesson, expect, draw):
    """It takes the same arguments as train_bpe, and stops where that stops."""
    for text, vocab_size, right in [
        ("hug pug hugs", 259, "u g, h ug"),
        ("hug pug hugs", 1000, "u g, h ug, p ug, _ hug, _ pug, _hug s"),
        ("aaaa", 1000, "a a, aa aa"),
        (["ab", "b", "ab"], 1000, "a b"),
        ("aaaa", 257, ""),
        ("", 1000, ""),
    ]:
        of = f"train_bpe_fast({text!r}, {vocab_size})"
        merges = lesson.train_bpe_fast(text, vocab_size)
        expect(merges, pairs(right) if right else [], of=of)
    merges = lesson.train_bpe_fast("ab " * 300, 1000)
    expect(merges, pairs("a b, _ ab"), of='train_bpe_fast("ab " * 300, 1000)')
    with expect.raises(ValueError, "for a vocab_size of 256"):
        lesson.train_bpe_fast("aaaa", 256)


@check("train_bpe_fast", points=1, seconds=4)
def test_fast_is_fast(lesson, expect, draw):
    """A merge that changes fifty words does not cost a walk through seven thousand."""
    # 10,000 words of three letters, 1,000 merges: 0.2 s with a heap, 1.5 s without one if the
    # counts are kept, 13 s if all is counted again
    letters = draw.text("abcdefghijklmnopqrstuvwxyz", 30_000)
    text = " ".join(letters[i : i + 3] for i in range(0, 30_000, 3))
    right = learned_by_library([text], 1257)
    expect(lesson.train_bpe_fast(text, 1257), right, of="the list of merges")
