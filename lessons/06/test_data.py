"""Checks for lesson 06, from documents to batches. Which step turns which check green:

1. split_documents    test_every_document_on_one_side, test_twins_stay_together,
                      test_the_share_is_kept, test_the_same_split_everywhere,
                      test_shares_that_cannot_be
2. pack               test_every_document_ends, test_documents_one_by_one
3. write_tokens       test_bytes_by_hand, test_the_vocabulary_decides, test_anything_that_yields,
                      test_ids_that_do_not_fit
4. read_tokens        test_ids_come_back, test_only_what_is_touched_is_read, test_tiny_files
5. windows            test_windows_by_hand, test_windows_are_slices, test_starts_that_do_not_fit,
                      test_nothing_is_shared
6. get_batch          test_targets_come_next, test_a_seed_repeats_the_batch,
                      test_every_start_is_equally_likely, test_each_row_is_drawn_by_itself,
                      test_the_shortest_text, test_a_long_text_costs_nothing
stretch  write_shards test_shards_by_hand, test_shards_go_on, test_no_shard_for_nothing
stretch  join_shards  test_shards_joined, test_joining_anew
"""

import hashlib
from contextlib import contextmanager, suppress

import numpy as np
import torch

from grader.checks import check

SECONDS = 5  # for a check; all of them together take about one


@contextmanager
def folder(lesson):
    """An empty folder beside the code that is checked; it is gone when the check ends."""
    files = lesson.toy("folder")
    try:
        yield files
    finally:
        with suppress(Exception):
            files.clear_away()


def number_of(document, seed):
    """The number, 0 to 1, by which a document is dealt out: sixteen hexadecimal digits."""
    return int(hashlib.sha256(f"{seed}:{document}".encode()).hexdigest()[:16], 16) / 16**16


def on_disk(ids, dtype="<u2"):
    """The bytes of these ids: two for each with "<u2", four with "<u4"; the lowest byte first."""
    return np.array(ids, dtype=dtype).tobytes()


def stories(draw, count):
    """Different texts, one of them empty, and many with a space or a line's end at their own end."""
    ends = ("", "\n", " ")
    words = {draw.text("abcdé", draw.integer(2, 6)) + ends[i % 3]: 0 for i in range(2 * count)}
    return ["", "two\nlines", *words][:count]


# 1. split_documents


@check("split_documents", points=1, seconds=SECONDS)
def test_every_document_on_one_side(lesson, expect, draw):
    """Each document lands whole on exactly one side, and keeps its place in the order."""
    documents = stories(draw, 60)
    for given in (documents, lesson.toy("pieces", documents)):
        train, valid = lesson.split_documents(given, 0.4)
        question = "Is there a document that goes to both sides, or to none?"
        expect(sorted(train + valid), sorted(documents), of="all documents together", ask=question)
        for name, side in (("training", train), ("validation", valid)):
            in_order = sorted(side, key=documents.index)
            expect(side, in_order, of=f"the order of the {name} documents")
    train, valid = lesson.split_documents([])
    expect([train, valid], [[], []], of="the two lists for no documents")


@check("split_documents", points=1, seconds=SECONDS)
def test_twins_stay_together(lesson, expect, draw):
    """A story that occurs twice is on one side only, and new stories do not move the old ones."""
    documents = stories(draw, 60)
    train, _ = lesson.split_documents(documents, 0.5)
    more = ["one more", *reversed(documents), *documents[::2]]
    more_train, more_valid = lesson.split_documents(more, 0.5)
    question = "Does it matter where a document stands in the list, or which others are in it?"
    both = sorted(set(more_train) & set(more_valid))
    expect(both, [], of="the documents on both sides, where some occur twice", ask=question)
    moved = [d for d in documents if (d in train) != (d in more_train)]
    expect(moved, [], of="the documents that change sides when others come", ask=question)
    total = len(more_train) + len(more_valid)
    expect(total, len(more), of="the number of documents, those that occur twice counted twice")


@check("split_documents", points=1, seconds=SECONDS)
def test_the_share_is_kept(lesson, expect, draw):
    """About the fraction asked for is for validation: a tenth, if you do not say."""
    documents = [f"{i} {text}" for i, text in enumerate(draw.ids(10**9, 2000).tolist())]
    for fraction in (0.02, 0.3, 0.9, None):
        share = 0.1 if fraction is None else fraction
        given = [documents] if fraction is None else [documents, fraction]
        train, valid = lesson.split_documents(*given)
        expect(len(train) + len(valid), 2000, of="the number of documents on both sides")
        # six standard deviations of the binomial: false alarm below 1e-6 also in its tails
        off = abs(len(valid) - 2000 * share) / (2000 * share * (1 - share)) ** 0.5
        symptom = f"of 2000 documents {len(valid)} are for validation; it should be {share:.0%}"
        question = "Which numbers lie below the fraction, and which of your lists comes first?"
        expect.true(off < 6, symptom, ask=question)
    for fraction, right in ((0, []), (1, documents)):
        _, valid = lesson.split_documents(documents, fraction)
        expect(valid, right, of=f"the validation documents for a fraction of {fraction}")


@check("split_documents", points=1, seconds=SECONDS)
def test_the_same_split_everywhere(lesson, expect, draw):
    """With the same seed everybody has the same split, today and tomorrow, on every machine."""
    documents = [f"Story {i}" for i in range(20)]
    _, valid = lesson.split_documents(documents)
    question = "Is your number made of the seed, a colon and the text, as step 1 says?"
    of = 'the validation documents of "Story 0" to "Story 19"'
    expect(valid, ["Story 2", "Story 8"], of=of, ask=question)
    for seed, fraction in ((0, 0.25), (1, 0.25), (17, 0.8), (draw.integer(2, 10**6), 0.5)):
        texts = stories(draw, 40)
        right = [text for text in texts if number_of(text, seed) < fraction]
        of = f"the validation documents with seed {seed}"
        expect(lesson.split_documents(texts, fraction, seed)[1], right, of=of, ask=question)
    of = "a document whose number is exactly the fraction"
    train, _ = lesson.split_documents(["story 753"], number_of("story 753", 0))
    expect(train, ["story 753"], of=of, ask="Is it below?")


@check("split_documents", points=1, seconds=SECONDS)
def test_shares_that_cannot_be(lesson, expect, draw):
    """A fraction below 0 or above 1 (ten percent as 10) is a slip, and you hear of it."""
    for fraction in (-0.1, 1.1, 10):
        with expect.raises(ValueError, f"for a fraction of {fraction}"):
            lesson.split_documents(["one", "two"], fraction)


# 2. pack


@check("pack", points=1, seconds=SECONDS)
def test_every_document_ends(lesson, expect, draw):
    """Behind every document stands the separator: the last and the empty one are no exception."""
    question = "How many separators are there for three documents, and where is the last one?"
    ids = lesson.pack([[1, 2], [], [3]], 9)
    expect(ids, [1, 2, 9, 9, 3, 9], of="pack([[1, 2], [], [3]], 9)", ask=question)
    expect(lesson.pack([[4]], 0), [4, 0], of="pack([[4]], 0)", ask="Is 0 a token like any other?")
    expect(lesson.pack([], 9), [], of="pack([], 9)", ask=question)


@check("pack", points=1, seconds=SECONDS)
def test_documents_one_by_one(lesson, expect, draw):
    """Documents may come one by one, as lists or tuples, and may hold the separator themselves."""
    lists = [draw.ids(7, n).tolist() for n in (3, 0, 1, 5, 0, 2)]
    right = [token for ids in lists for token in [*ids, 5]]
    packed = lesson.pack(lesson.toy("pieces", lists), 5)
    expect(packed, right, of=f"pack of {lists} from an iterator, with separator 5")
    expect(lesson.pack(tuple(map(tuple, lists)), 5), right, of="pack of these as tuples")


# 3. write_tokens


@check("write_tokens", points=1, seconds=SECONDS)
def test_bytes_by_hand(lesson, expect, draw):
    """Three ids are six bytes, the lower byte of each first, and there is nothing else."""
    with folder(lesson) as files:
        files.write("tokens.bin", b"an older file, which is longer than the new one")
        lesson.write_tokens([1, 258, 65535], files.file("tokens.bin"), 65536)
        expect(files.found(), ["tokens.bin"], of="the list of files in the folder")
        question = "258 is 1 * 256 + 2. How many bytes does uint16 take, and do you add anything?"
        of = "the bytes of the ids 1, 258, 65535"
        expect(files.content("tokens.bin"), b"\x01\x00\x02\x01\xff\xff", of=of, ask=question)


@check("write_tokens", points=1, seconds=SECONDS)
def test_the_vocabulary_decides(lesson, expect, draw):
    """Two bytes a token as long as all ids of the vocabulary fit, whichever are in the text."""
    with folder(lesson) as files:
        for vocab_size, largest, dtype in [
            (3, 2, "<u2"),
            (65536, 65535, "<u2"),
            (65537, 65536, "<u4"),
            (200_000, 199_999, "<u4"),
            (200_000, 300, "<u4"),
        ]:
            ids = [largest, 0, *draw.ids(largest, 3).tolist()]
            lesson.write_tokens(ids, files.file("tokens.bin"), vocab_size)
            question = "What decides about the type: the largest id here, or vocab_size?"
            of = f"the bytes of {ids} with vocab_size {vocab_size}"
            expect(files.content("tokens.bin"), on_disk(ids, dtype), of=of, ask=question)


@check("write_tokens", points=1, seconds=SECONDS)
def test_anything_that_yields(lesson, expect, draw):
    """Ids may come as a list, an array or one by one, and there may be none at all."""
    ids = draw.ids(40_000, 200)
    given = {
        "a tuple": tuple(ids.tolist()),
        "an iterator": lesson.toy("pieces", ids.tolist()),
        "an array of uint16": lesson.toy("array", ids, "uint16"),
        "an array of int64": lesson.toy("array", ids, "int64"),
    }
    with folder(lesson) as files:
        path = lesson.keep(files.path, "tokens.bin")
        for name, value in given.items():
            lesson.write_tokens(value, path, 40_000)
            of = f"the bytes of 200 ids, given as {name}"
            expect(files.content("tokens.bin"), on_disk(ids.tolist()), of=of)
        lesson.write_tokens([], path, 40_000)
        expect(files.content("tokens.bin"), b"", of="the bytes of no ids")


@check("write_tokens", points=1, seconds=SECONDS)
def test_ids_that_do_not_fit(lesson, expect, draw):
    """An id that is not in the vocabulary is refused, and the old file is still there."""
    question = "Which ids does a vocabulary of 300 have? And what is -1 as uint16?"
    with folder(lesson) as files:
        files.write("tokens.bin", b"old!")
        for ids, size in (([0, 300, 1], 300), ([5, -1], 300), ([2**32], 70_000), ([65536], 65536)):
            with expect.raises(ValueError, f"for the ids {ids} and vocab_size {size}", question):
                lesson.write_tokens(ids, files.file("tokens.bin"), size)
            of = "the file that was there before"
            expect(files.content("tokens.bin"), b"old!", of=of, ask="When do you open the file?")
        expect(files.found(), ["tokens.bin"], of="the list of files in the folder")


# 4. read_tokens


@check("read_tokens", points=1, seconds=SECONDS)
def test_ids_come_back(lesson, expect, draw):
    """The bytes are ids again: two or four bytes each, as the size of the vocabulary says."""
    with folder(lesson) as files:
        for vocab_size, dtype in ((300, "uint16"), (65536, "uint16"), (65537, "uint32")):
            ids = torch.cat([torch.tensor([vocab_size - 1]), draw.ids(vocab_size, 6)])
            files.write(f"{vocab_size}.bin", on_disk(ids.tolist(), "<u" + str(int(dtype[4:]) // 8)))
            read = lesson.keep(lesson.read_tokens, files.file(f"{vocab_size}.bin"), vocab_size)
            look = lesson.toy("look", read)
            of = f"what you return for 7 ids and vocab_size {vocab_size}"
            right = {"kind": "a NumPy array", "dtype": dtype, "shape": [7]}
            expect(look.read("facts"), right, of=of, ask="Does the type hang on vocab_size?")
            of = f"the ids with vocab_size {vocab_size}"
            expect(look.read("values"), ids, of=of, tolerance=0)


@check("read_tokens", points=1, seconds=SECONDS)
def test_only_what_is_touched_is_read(lesson, expect, draw):
    """The array is a view of the file, not a copy: a file larger than memory is no problem."""
    with folder(lesson) as files:
        files.write("tokens.bin", on_disk([7, 8, 9]))
        files.lengthen("tokens.bin", 2_000_000)
        path = lesson.keep(files.path, "tokens.bin")
        tokens = lesson.keep(lesson.read_tokens, path, 300)
        look = lesson.toy("look", tokens)
        expect(look.read("facts")["shape"], [1_000_000], of="the shape of a million ids")
        symptom = "the ids are a copy in memory, and no memory map of the file"
        question = "Which of numpy's functions reads a file, and which one only maps it?"
        expect.true(look.read("is_on_disk"), symptom, ask=question)
        symptom = "the map can be written to, and a slip in somebody's code would change the file"
        expect.true(look.read("is_read_only"), symptom, ask="Which mode lets nobody write?")
        expect(look.read("values")[:4], torch.tensor([7, 8, 9, 0]), of="the first ids")


@check("read_tokens", points=1, seconds=SECONDS)
def test_tiny_files(lesson, expect, draw):
    """No ids are an empty array, half an id is a damaged file, and no file is no file."""
    with folder(lesson) as files:
        for vocab_size, dtype in ((300, "uint16"), (70_000, "uint32")):
            files.write("empty.bin", b"")
            read = lesson.keep(lesson.read_tokens, files.file("empty.bin"), vocab_size)
            facts = lesson.toy("look", read).read("facts")
            right = {"kind": "a NumPy array", "dtype": dtype, "shape": [0]}
            question = "What does a file of 0 bytes hold, and of which type?"
            expect(facts, right, of="what you return for an empty file", ask=question)
        for content, vocab_size in ((b"abc", 300), (b"a", 300), (b"abcdef", 70_000)):
            files.write("broken.bin", content)
            with expect.raises(
                ValueError, f"for {len(content)} bytes and a vocab_size of {vocab_size}"
            ):
                lesson.keep(lesson.read_tokens, files.file("broken.bin"), vocab_size)
        with expect.raises(FileNotFoundError, "for a file that is not there"):
            lesson.keep(lesson.read_tokens, files.file("none.bin"), 300)


# 5. windows


@check("windows", points=1, seconds=SECONDS)
def test_windows_by_hand(lesson, expect, draw):
    """Two windows of three tokens: the target at each place is the token that comes next."""
    tokens = lesson.toy("array", torch.tensor([10, 11, 12, 13, 14, 15, 16]), "uint16")
    types = lesson.toy("types", lesson.keep(lesson.windows, tokens, [2, 0], 3)).read("names")
    expect(types, ["int64", "int64"], of="the types of inputs and targets")
    inputs, targets = lesson.windows(tokens, [2, 0], 3)
    question = "In the window 12, 13, 14: which token comes after the 14?"
    expect(inputs, torch.tensor([[12, 13, 14], [10, 11, 12]]), of="the inputs", ask=question)
    expect(targets, torch.tensor([[13, 14, 15], [11, 12, 13]]), of="the targets", ask=question)


@check("windows", points=1, seconds=SECONDS)
def test_windows_are_slices(lesson, expect, draw):
    """Any starts in any order, any types, from the very first window to the very last."""
    for length, block_size, dtype, largest, batch in [
        (97, 11, "uint16", 65_536, 5),
        (30, 1, "uint32", 200_000, 4),
        (9, 8, "uint16", 60_000, 1),
        (40, 5, "int64", 200_000, 5),
    ]:
        ids, last = draw.ids(largest, length), length - block_size - 1
        starts = [last, 0, *draw.ids(last + 1, 2).tolist(), last][:batch]
        inputs = torch.stack([ids[start : start + block_size] for start in starts])
        targets = torch.stack([ids[start + 1 : start + block_size + 1] for start in starts])
        tokens = lesson.toy("array", ids, dtype)
        as_array = lesson.toy("array", torch.tensor(starts), "int64")
        of = f"windows of {block_size} at {starts} in {length} tokens of {dtype}"
        for given in (starts, tuple(starts), as_array):
            mine = lesson.windows(tokens, given, block_size)
            expect(list(mine), [inputs, targets], of=of, tolerance=0)
        after = lesson.toy("look", as_array).read("values").tolist()
        expect(after, starts, of="the starts that you were given, afterwards")


@check("windows", points=1, seconds=SECONDS)
def test_starts_that_do_not_fit(lesson, expect, draw):
    """A window that sticks out of the text is refused: numpy would count -1 from the end."""
    tokens = lesson.toy("array", draw.ids(50_000, 20), "uint16")
    for size, starts in ((5, [0, 15]), (4, [16]), (5, [-1, 3]), (5, [-20]), (5, [100])):
        question = "How many tokens does a window with its targets take, and where must it begin?"
        with expect.raises(ValueError, f"for windows of {size} at {starts} in 20 tokens", question):
            lesson.windows(tokens, starts, size)


@check("windows", points=1, seconds=SECONDS)
def test_nothing_is_shared(lesson, expect, draw):
    """Who writes into the inputs (to hide some of them) changes neither targets nor text."""
    ids = draw.ids(1000, 12)
    tokens = lesson.toy("array", ids, "int64")
    for starts in ([3], [2, 5, 3]):
        after = lesson.toy("scribble", lesson.keep(lesson.windows, tokens, starts, 4), tokens)
        right = torch.stack([ids[start + 1 : start + 5] for start in starts])
        question = "Are inputs and targets two pieces of the same memory? What makes a copy?"
        of = "the targets, after somebody wrote into the inputs"
        expect(after.read("targets"), right, of=of, ask=question)
        expect(after.read("text"), ids, of="the text, after somebody wrote into the inputs")


# 6. get_batch


@check("get_batch", points=1, seconds=SECONDS)
def test_targets_come_next(lesson, expect, draw):
    """A batch is made of windows of the text, as many and as long as you ask for."""
    for length, batch_size, block_size, seed in [(50, 3, 7, 0), (9, 1, 8, 5), (30, 12, 1, (2, 3))]:
        first = draw.integer(10, 1000)
        tokens = lesson.toy("array", torch.arange(first, first + length), "uint16")
        inputs, targets = lesson.get_batch(tokens, batch_size, block_size, seed)
        of = f"{batch_size} windows of {block_size} in {length} tokens"
        expect(list(inputs.shape), [batch_size, block_size], of=f"the shape of {of}")
        expect(
            targets - inputs,
            torch.ones(batch_size, block_size, dtype=torch.int64),
            of="target minus input in a rising text",
        )
        along = torch.arange(block_size).repeat(batch_size, 1)
        expect(inputs - inputs[:, :1], along, of="the inputs' distance from their first token")
        symptom = "a window begins before the text or ends behind it"
        inside = bool(inputs.min() >= first) and bool(targets.max() < first + length)
        expect.true(inside, symptom)


@check("get_batch", points=1, seconds=SECONDS)
def test_a_seed_repeats_the_batch(lesson, expect, draw):
    """The same seed gives the same batch again, whatever came between; another seed another one."""
    tokens = lesson.toy("array", torch.arange(50_000), "uint16")
    # two batches of 8 windows out of 49,990 are the same by chance once in 1e37 times
    for seed, others in {
        7: [8, 0, 1007],
        (1, 2): [(2, 1), (1, 3), (2, 2), 3],
        0: [(1, 0), (1, 1)],
    }.items():
        first, _ = lesson.get_batch(tokens, 8, 10, seed)
        for other in others:
            another, _ = lesson.get_batch(tokens, 8, 10, other)
            symptom = f"the seeds {seed} and {other} give the same batch"
            expect.true(not torch.equal(first, another), symptom, ask="Where is the seed used?")
        again, _ = lesson.get_batch(tokens, 8, 10, seed)
        symptom = f"the seed {seed} gives one batch now and another one later"
        expect.true(torch.equal(first, again), symptom, ask="When is your generator made?")


@check("get_batch", points=1, seconds=SECONDS)
def test_every_start_is_equally_likely(lesson, expect, draw):
    """No place of the text is seen more often than another, the first and the last included."""
    tokens = lesson.toy("array", torch.arange(23), "uint16")
    starts = lesson.get_batch(tokens, 17_000, 6, draw.integer(0, 10**6))[0][:, 0]
    counts = torch.bincount(starts, minlength=17)
    question = "In 23 tokens, which is the last start of a window of 6 that still has its targets?"
    never = (counts == 0).nonzero().flatten().tolist()
    expect(never, [], of="the starts that never come in 17,000 draws", ask=question)
    expect(len(counts), 17, of="the number of starts", ask=question)
    # chi-square with 16 degrees of freedom is above 58.4 by chance once in a million times
    off = float(((counts - 1000) ** 2 / 1000).sum())
    symptom = f"the 17 starts come {counts.tolist()} times; 1000 each would be fair"
    question = "Which numbers does your generator give, and how often?"
    expect.true(off < 58.4, symptom, ask=question)
    tokens = lesson.toy("array", torch.arange(110_001), "uint32")
    starts = lesson.get_batch(tokens, 11_000, 1, draw.integer(0, 10**6))[0][:, 0]
    counts = torch.bincount(starts // 10_000, minlength=11)
    # chi-square with 10 degrees of freedom is above 46.9 by chance once in a million times
    off = float(((counts - 1000) ** 2 / 1000).sum())
    symptom = f"in a text of eleven parts, windows begin {counts.tolist()} times in each"
    expect.true(off < 46.9, symptom, ask=question)


@check("get_batch", points=1, seconds=SECONDS)
def test_each_row_is_drawn_by_itself(lesson, expect, draw):
    """Where one row begins says nothing about the next: a batch of neighbours would teach less."""
    tokens = lesson.toy("array", torch.arange(17), "uint16")
    starts = lesson.get_batch(tokens, 20_000, 6, draw.integer(0, 10**6))[0][:, 0]
    pairs = torch.bincount(starts[0::2] * 11 + starts[1::2], minlength=121)
    # chi-square with 120 degrees of freedom is above 208.6 by chance once in a million times
    fair = 10_000 / 121
    off = float(((pairs - fair) ** 2 / fair).sum())
    symptom = "from the start of one row one can guess the start of the next"
    expect.true(off < 208.6, symptom, ask="How many numbers do you draw for a batch?")


@check("get_batch", points=1, seconds=SECONDS)
def test_the_shortest_text(lesson, expect, draw):
    """A text of one window and its targets is enough; one token less is not."""
    ids = draw.ids(60_000, 7)
    batch = lesson.get_batch(lesson.toy("array", ids, "uint16"), 2, 6, 1)
    right = [ids[:6].repeat(2, 1), ids[1:].repeat(2, 1)]
    question = "How many starts are there in 7 tokens?"
    expect(list(batch), right, of="two windows of 6 in 7 tokens", ask=question, tolerance=0)
    for length in (6, 5, 0):
        with expect.raises(ValueError, f"for windows of 6 in {length} tokens"):
            lesson.get_batch(lesson.toy("array", ids[:length], "uint16"), 2, 6, 1)


@check("get_batch", points=1, seconds=30)
def test_a_long_text_costs_nothing(lesson, expect, draw):
    """Sixty batches of a hundred million tokens, and only what is needed is touched."""
    tokens = lesson.toy("zeros", 100_000_000, "uint16")
    watch = lesson.toy("processor time")
    for seed in range(60):
        _, targets = lesson.get_batch(tokens, 3, 5, seed)
        quick = watch.read("seconds") < 0.5
        if not quick:
            break
    # 0.03 s in all if only the windows are copied, 1.5 s and more if the whole text is
    question = "Which line touches every token of the text?"
    symptom = "a small batch of a long text takes far longer than one of a short text"
    expect.true(quick, symptom, ask=question)
    right = torch.zeros(3, 5, dtype=torch.int64)
    expect(targets, right, of="the targets", ask=question)


# stretch


def written(lesson, files, texts, encoder, size=4, vocab_size=300):
    """Have these texts written as shards, and return the names of the paths that come back."""
    documents = lesson.toy("pieces", texts)
    arguments = documents, encoder, files.folder("shards"), vocab_size, 7, size
    return files.called(lesson.keep(lesson.write_shards, *arguments))


@check("write_shards", points=1, seconds=SECONDS)
def test_shards_by_hand(lesson, expect, draw):
    """Five documents, two in each file: three files, and the last is shorter."""
    with folder(lesson) as files:
        for vocab_size, dtype in ((65536, "<u2"), (65537, "<u4")):
            encoder, place = lesson.toy("encoder"), files.folder(str(vocab_size))
            arguments = ["a", "", "bcd", "ée", "f"], encoder, place, vocab_size, 7, 2
            paths = files.called(lesson.keep(lesson.write_shards, *arguments))
            names = [f"{vocab_size}/shard-{i:05d}.bin" for i in range(3)]
            expect(paths, names, of="the list of paths", ask="Which number has the first file?")
            for name, ids in zip(
                names, [[97, 7, 7], [98, 99, 100, 7, 233, 101, 7], [102, 7]], strict=True
            ):
                of = f"the bytes of {name}"
                expect(files.content(name), on_disk(ids, dtype), of=of, ask="Who calls `pack`?")
        expect(len(files.found()), 6, of="the number of files")


@check("write_shards", points=1, seconds=SECONDS)
def test_shards_go_on(lesson, expect, draw):
    """Killed and called again, it goes on: what is there is whole and stays, and the rest comes."""
    texts = [draw.text("abcdefgh", draw.integer(0, 6)) + str(i) for i in range(14)]
    with folder(lesson) as files:
        encoder = lesson.toy("encoder", texts[10])
        with expect.raises(RuntimeError, "when the work is ended in the middle"):
            written(lesson, files, texts, encoder)
        done, names = len(encoder.read("texts")), [f"shards/shard-{i:05d}.bin" for i in range(4)]
        found = sorted(set(names) & set(files.found()))
        question = "When does a file get its name: before all its ids are there, or after it?"
        expect(found, names[:2], of="the shards after a kill at the 11th document", ask=question)
        paths = written(lesson, files, texts, encoder)
        expect(paths, names, of="the list of paths, old and new", ask="Is an old shard in it too?")
        question = "Which documents belong to the shards that are there? Are they out of the way?"
        again = encoder.read("texts")[done:]
        expect(again, texts[8:], of="the documents encoded in the second run", ask=question)
        for i, name in enumerate(names):
            ids = [number for text in texts[4 * i : 4 * i + 4] for number in [*map(ord, text), 7]]
            expect(files.content(name), on_disk(ids), of=f"the bytes of {name}", ask=question)
        expect(written(lesson, files, texts, encoder), names, of="the paths of a third run")
        of = "the number of documents encoded in three runs"
        expect(len(encoder.read("texts")), done + 6, of=of, ask=question)


@check("write_shards", points=1, seconds=SECONDS)
def test_no_shard_for_nothing(lesson, expect, draw):
    """Eight documents by four are two shards, no documents none; a thousand go into one file."""
    with folder(lesson) as files:
        for count, right in ((0, 0), (8, 2), (1, 1)):
            encoder, place = lesson.toy("encoder"), files.folder(f"of {count}")
            arguments = ["x"] * count, encoder, place, 300, 7, 4
            paths = files.called(lesson.keep(lesson.write_shards, *arguments))
            of = f"the list of paths of {count} documents, four in each"
            expect(paths, [f"of {count}/shard-{i:05d}.bin" for i in range(right)], of=of)
        arguments = ["x"] * 1001, lesson.toy("encoder"), files.folder("many"), 300, 7
        paths = files.called(lesson.keep(lesson.write_shards, *arguments))
        expect(len(paths), 2, of="the number of shards of 1001 documents")
        expect(len(files.found()), 5, of="the number of files")


@check("join_shards", points=1, seconds=SECONDS)
def test_shards_joined(lesson, expect, draw):
    """The bytes of all shards stand in one file, in the order in which you name the shards."""
    with folder(lesson) as files:
        contents = [draw.ids(256, n).to(torch.uint8).numpy().tobytes() for n in (6, 0, 4, 12)]
        contents[2] = b"\r\n\n\r"  # ids like any others
        for i, content in enumerate(contents):
            files.write(f"{i}.bin", content)
        order = [3, 0, 2, 1]
        names = [files.file(f"{i}.bin") for i in order]
        paths = [lesson.keep(files.path, f"{i}.bin") for i in order]
        right = b"".join(contents[i] for i in order)
        for name, shards in {"text": names, "Path": paths}.items():
            lesson.join_shards(lesson.toy("pieces", shards), files.file(f"{name}.bin"))
            of = f"the bytes of four shards, each given as {name}"
            expect(files.content(f"{name}.bin"), right, of=of, ask="In which order?")


@check("join_shards", points=1, seconds=SECONDS)
def test_joining_anew(lesson, expect, draw):
    """An older file gives way to the new one; where a shard is missing it stays as it was."""
    with folder(lesson) as files:
        files.write("a.bin", b"abcd")
        files.write("whole.bin", b"an older file")
        whole = lesson.keep(files.path, "whole.bin")
        lesson.join_shards([files.file("a.bin"), files.file("a.bin")], whole)
        question = "Is the old file in your new one?"
        expect(files.content("whole.bin"), b"abcdabcd", of="the new file", ask=question)
        with expect.raises(FileNotFoundError, "for a shard that is not there"):
            lesson.join_shards([files.file("a.bin"), files.file("none.bin")], whole)
        question = "What is in the file between its opening and the end of your loop?"
        of = "the file, after a shard was missing"
        expect(files.content("whole.bin"), b"abcdabcd", of=of, ask=question)
        expect(files.found(), ["a.bin", "whole.bin"], of="the list of files")
        lesson.join_shards([], whole)
        expect(files.content("whole.bin"), b"", of="the file made of no shards")
