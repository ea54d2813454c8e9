"""Hidden checks for lesson 06, from documents to batches: other texts, sizes, seeds and files."""

import hashlib
from contextlib import contextmanager, suppress

import numpy as np
import torch

from grader.instructor.guards import guard

SECONDS = 5  # for a guard


@contextmanager
def folder(lesson):
    """An empty folder beside the code that is checked; it is gone when the guard ends."""
    files = lesson.toy("folder")
    try:
        yield files
    finally:
        with suppress(Exception):
            files.clear_away()


def number_of(document, seed):
    """The number, 0 to 1, by which a document is dealt out: sixteen hexadecimal digits."""
    return int(hashlib.sha256(f"{seed}:{document}".encode()).hexdigest()[:16], 16) / 16**16


def on_disk(ids, dtype):
    """The bytes of these ids, two or four for each, the lowest byte first."""
    return np.array(ids, dtype=dtype).tobytes()


@guard("test_the_same_split_everywhere", seconds=SECONDS)
def guard_any_documents_are_dealt_out(lesson, expect, draw):
    """Long documents and short ones, in any script, some twice, with any seed and fraction."""
    for count in (1, 30, 150):
        letters = "mnö 你🙂\n\t\r"
        documents = [draw.text(letters, draw.integer(0, 40)) for _ in range(count)]
        documents += documents[: count // 5]
        for seed in (0, draw.integer(18, 10**9), -draw.integer(1, 99)):
            fraction = draw.integer(5, 95) / 100
            valid = [number_of(document, seed) < fraction for document in documents]
            right = [[d for d, v in zip(documents, valid, strict=True) if v == s] for s in (0, 1)]
            of = f"the split of {len(documents)} documents, fraction {fraction}, seed {seed}"
            expect(list(lesson.split_documents(documents, fraction, seed)), right, of=of)
    with expect.raises(ValueError, "for a fraction of 1.5"):
        lesson.split_documents(documents, 1.5, 3)


@guard("test_documents_one_by_one", seconds=SECONDS)
def guard_documents_of_any_number(lesson, expect, draw):
    """Many documents of any length, again and again, and any separator."""
    for count in (1, 40, 7, 40):
        lists = [draw.ids(60_000, draw.integer(0, 50)).tolist() for _ in range(count)]
        separator = draw.integer(0, 70_000)
        right = [token for ids in lists for token in [*ids, separator]]
        expect(lesson.pack(lists, separator), right, of=f"pack of {count} documents")
        given = lesson.toy("pieces", lists)
        expect(lesson.pack(given, separator), right, of=f"pack of {count}, one by one")


@guard("test_the_vocabulary_decides", seconds=SECONDS)
def guard_files_of_any_vocabulary(lesson, expect, draw):
    """Files of any size and vocabulary: the bytes, and what is refused."""
    with folder(lesson) as files:
        for vocab_size, count in [
            (draw.integer(2, 60_000), draw.integer(300, 900)),
            (draw.integer(70_000, 4_000_000), 50),
            (1, 4),
            (65_536, draw.integer(8, 99)),
        ]:
            ids = draw.ids(vocab_size, count)
            dtype = "<u2" if vocab_size <= 65_536 else "<u4"
            path = files.file(f"{vocab_size}.bin")
            lesson.write_tokens(ids.tolist(), path, vocab_size)
            right = on_disk(ids.tolist(), dtype)
            of = f"the bytes of {count} ids with vocab_size {vocab_size}"
            expect(files.content(f"{vocab_size}.bin"), right, of=of)
            for wrong in (vocab_size, -1):
                ids[draw.integer(0, count - 1)] = wrong
                with expect.raises(ValueError, f"for the id {wrong}, vocab_size {vocab_size}"):
                    lesson.write_tokens(ids.tolist(), path, vocab_size)
            expect(files.content(f"{vocab_size}.bin"), right, of="the file that was there before")


@guard("test_ids_come_back", seconds=SECONDS)
def guard_ids_of_any_file(lesson, expect, draw):
    """Several files are read side by side, and one that has changed is read anew."""
    with folder(lesson) as files:
        sizes = [(draw.integer(300, 50_000), "<u2"), (draw.integer(66_000, 10**6), "<u4")]
        for count in (1, 500, 33):
            reads = []
            for vocab_size, dtype in sizes:
                ids = draw.ids(vocab_size, count)
                # another name each time: a map of a file that is replaced says nothing for sure
                files.write(f"{vocab_size}-{count}.bin", on_disk(ids.tolist(), dtype))
                path = files.file(f"{vocab_size}-{count}.bin")
                reads.append((lesson.keep(lesson.read_tokens, path, vocab_size), ids, dtype))
            for tokens, ids, dtype in reads:
                look = lesson.toy("look", tokens)
                expect(look.read("values"), ids, of=f"{count} ids", tolerance=0)
                right = {"kind": "a NumPy array", "dtype": f"uint{8 * int(dtype[2])}"}
                expect(look.read("facts"), right | {"shape": [count]}, of="what is returned")
                expect.true(look.read("is_on_disk"), "the ids are a copy in memory")
                expect.true(look.read("is_read_only"), "the map can be written to")


@guard("test_windows_are_slices", seconds=SECONDS)
def guard_windows_of_any_size(lesson, expect, draw):
    """Any number of windows of any size, in several texts by turns."""
    for length, block_size, dtype, batch in [
        (draw.integer(200, 400), draw.integer(12, 60), "uint16", draw.integer(9, 40)),
        (draw.integer(20, 40), 3, "uint32", 1),
        (64, 63, "int64", 2),
        (2, 1, "uint16", 6),
        (50, 7, "uint32", 7),
    ]:
        ids, last = draw.ids(60_000, length), length - block_size - 1
        starts = [*draw.ids(last + 1, batch).tolist(), last]
        right = [torch.stack([ids[s + by : s + by + block_size] for s in starts]) for by in (0, 1)]
        tokens = lesson.toy("array", ids, dtype)
        of = f"{len(starts)} windows of {block_size} in {length} tokens of {dtype}"
        expect(list(lesson.windows(tokens, starts, block_size)), right, of=of, tolerance=0)
        for wrong in (last + 1, -1):
            with expect.raises(ValueError, f"for a start of {wrong} in {length} tokens"):
                lesson.windows(tokens, [0, wrong], block_size)


@guard("test_targets_come_next", seconds=SECONDS)
def guard_batches_of_any_size(lesson, expect, draw):
    """Any batch, block and text: windows of that very text, and the same for the same seed."""
    for length, batch_size, block_size in [
        (draw.integer(100, 300), draw.integer(13, 40), draw.integer(9, 30)),
        (5000, 2, draw.integer(100, 200)),
        (40, 1, 1),
        (12, 25, 11),
    ]:
        ids = torch.from_numpy(draw.random.permutation(length))  # every token stands there once
        place = ids.argsort()
        for seed in (draw.integer(10, 10**6), (draw.integer(0, 99), 5, 7)):
            tokens = lesson.toy("array", ids, "uint32")
            inputs, targets = lesson.get_batch(tokens, batch_size, block_size, seed)
            starts = place[inputs[:, 0]].tolist()
            fits = max(starts) + block_size < length
            expect.true(fits, "a window with its targets sticks out of the text")
            for by, mine in enumerate((inputs, targets)):
                right = torch.stack([ids[s + by : s + by + block_size] for s in starts])
                of = f"{('inputs', 'targets')[by]} of {batch_size} windows of {block_size}"
                expect(mine, right, of=of, tolerance=0)
            again = lesson.get_batch(tokens, batch_size, block_size, seed)
            expect(list(again), [inputs, targets], of="the same batch again", tolerance=0)


@guard("test_every_start_is_equally_likely", seconds=SECONDS)
def guard_every_start_of_other_texts(lesson, expect, draw):
    """In texts of other lengths, and over many seeds, every start comes as often."""
    size = draw.integer(4, 9)
    tokens = lesson.toy("array", torch.arange(size + 12), "uint16")
    one = lesson.get_batch(tokens, 12_000, size, draw.integer(0, 10**6))[0][:, 0]
    seeds = range(first := draw.integer(10**3, 10**6), first + 60)
    many = [lesson.get_batch(tokens, 50, size, (seed, 1))[0][:, 0] for seed in seeds]
    for starts, of in [(one, "one batch"), (torch.cat(many), "sixty batches")]:
        counts, fair = torch.bincount(starts, minlength=12), len(starts) / 12
        expect(len(counts), 12, of=f"the number of starts in {of}")
        # 11 degrees of freedom: above 60 by chance once in 10^8 times
        off = float(((counts - fair) ** 2 / fair).sum())
        symptom = f"in {of} the 12 starts come {counts.tolist()} times; {fair:.0f} each is fair"
        expect.true(off < 60, symptom)


@guard("test_shards_by_hand", seconds=SECONDS)
def guard_shards_of_any_size(lesson, expect, draw):
    """Any number of documents in shards of any size."""
    with folder(lesson) as files:
        for count, size in [(draw.integer(9, 20), 3), (6, draw.integer(7, 9)), (10, 5)]:
            texts = [draw.text("mnoö", draw.integer(0, 9)) for _ in range(count)]
            place, separator = files.folder(f"{count} by {size}"), draw.integer(300, 400)
            given = texts, lesson.toy("encoder"), place, 500, separator, size
            paths = lesson.keep(lesson.write_shards, *given)
            names = [f"{count} by {size}/shard-{i:05d}.bin" for i in range(-(-count // size))]
            expect(files.called(paths), names, of=f"the paths of {count} documents by {size}")
            row = [[*map(ord, text), separator] for text in texts]
            for i, name in enumerate(names):
                ids = [token for part in row[i * size : i * size + size] for token in part]
                right = on_disk(ids, "<u2")
                expect(files.content(name), right, of=f"the bytes of shard {i} of {len(names)}")


@guard("test_shards_joined", seconds=SECONDS)
def guard_any_shards_are_joined(lesson, expect, draw):
    """Any number of shards of any size, empty ones among them, again and again."""
    with folder(lesson) as files:
        for count in (1, 17, 0, 6):
            contents = [
                draw.text("\n\r\0abc", draw.integer(0, 3000)).encode() for _ in range(count)
            ]
            for i, content in enumerate(contents):
                files.write(f"{i}.bin", content)
            shards = [files.file(f"{i}.bin") for i in range(count)]
            lesson.join_shards(shards, files.file("whole.bin"))
            expect(files.content("whole.bin"), b"".join(contents), of=f"{count} shards joined")
