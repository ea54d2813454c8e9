"""Checkpoint: lessons 00 to 10 together, all of them yours. `pytest lessons/10 --mine`

No points, but a first run of your own: from stories to a trained model that is measured and writes.
Where it does not work, the lesson that is the cause is named. Lesson 14 does the same at full size.
"""

import math

import torch
import torch.nn.functional as F

from grader.checks import checkpoint
from grader.gpt2 import gpt2_logits

NAMES = ("Tom", "Anna", "Ben", "Lily", "Max", "Mia", "Sam", "Zoe")
THINGS = ("ball", "kite", "boat", "hat", "cake", "book", "drum", "leaf")
PLACES = ("house", "tree", "hill", "river", "garden", "school")
STORIES = [
    f"{name} had a {thing}. One day the {thing} was gone. {name} looked by the {place}. "
    f"There it was! {name} took the {thing} home."
    for name in NAMES
    for thing in THINGS
    for place in PLACES
]
SHAPE = {"block_size": 32, "n_layer": 2, "n_head": 2, "n_embd": 32}
TRAINING = {
    **{"steps": 120, "batch_size": 16, "peak_lr": 1e-2, "final_lr": 1e-3, "warmup": 10},
    "max_norm": 1.0,
}


def first_run(lesson):
    """Split, tokenize, pack and train; return the tokenizer, the held-out text, ids, model, run."""
    data, tokenizer, gpt = lesson.needed("data"), lesson.needed("tokenizer"), lesson.needed("model")
    train, valid = data.split_documents(STORIES, 0.1)
    bpe = tokenizer.BPETokenizer(tokenizer.train_bpe(train[:60], 340))
    end = bpe.read("vocab_size")  # one more id: the end of a story
    packed = [data.pack([bpe.encode(text) for text in texts], end) for texts in (train, valid)]
    model = gpt.GPT(gpt.GPTConfig(vocab_size=end + 1, **SHAPE))
    run = lesson.toy("first run", model, *packed, end + 1, SHAPE["block_size"], TRAINING)
    return bpe, valid, packed, model.eval(), run


@checkpoint("perplexity")
def test_your_library_trains_a_model(lesson, expect):
    """Your library trains a model on stories, and measures honestly what it has learnt."""
    bpe, valid, (train, held_out), model, run = first_run(lesson)
    expect(bpe.decode(bpe.encode(valid[0])), valid[0], of="a story, encoded and decoded")
    expect(len(valid) + train.count(max(train)), len(STORIES), of="the number of stories")
    losses = [run.read("first_loss"), run.read("last_loss")]
    expect.true(
        losses[1] < 0.6 < 4 < losses[0],
        f"the model does not learn: its held-out loss went from {losses[0]:.2f} to {losses[1]:.2f}",
        details="about 0.3 is usual after these 120 steps",
    )
    size, ids = SHAPE["block_size"], torch.tensor(held_out)
    starts = range(0, len(ids) - size, size)
    rows = torch.stack([ids[start : start + size + 1] for start in starts])
    logits = gpt2_logits(model.weights(), rows[:, :-1], SHAPE["n_head"])
    by_the_judge = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
    expect(losses[1], float(by_the_judge), of="the held-out loss", tolerance=1e-4)
    whole = rows[:, 1:].numel() + 1  # the rows side by side, each token scored once
    measured = lesson.perplexity(model, ids[:whole], size, size)
    expect(measured, math.exp(by_the_judge), of="the perplexity", tolerance=1e-3)
    nats, n_bytes = float(by_the_judge) * (whole - 1), len("".join(valid).encode())
    bits = nats / math.log(2) / n_bytes
    expect(lesson.bits_per_byte(nats, n_bytes), bits, of="bits per byte")


@checkpoint("perplexity")
def test_your_library_writes(lesson, expect):
    """Your model writes on with your sampler, the same with a cache as without one."""
    bpe, _, _, model, _ = first_run(lesson)
    generation = lesson.needed("generation")
    prompt = torch.tensor([bpe.encode("Anna had a")])
    right = prompt
    for _ in range(40):  # beyond block_size: the window slides
        window = right[:, -SHAPE["block_size"] :]
        logits = gpt2_logits(model.weights(), window, SHAPE["n_head"])
        right = torch.cat([right, logits[:, -1:].argmax(-1)], dim=1)
    for use_cache in (False, True):
        told = generation.generate(model, prompt, 40, use_cache=use_cache)
        expect(told, right, of=f"what it writes with use_cache={use_cache}")
    choose = lesson.keep(generation.chooser, top_k=1, temperature=0.7)
    told = generation.generate(model, prompt, 12, choose)
    expect(told, right[:, : prompt.shape[1] + 12], of="what it writes with top_k=1")
    steps = generation.trace(model, prompt, 1)
    sure = torch.softmax(gpt2_logits(model.weights(), prompt, SHAPE["n_head"])[0, :-1], -1)
    expect([s[1] for s in steps], sure.amax(-1).tolist(), of="how sure it is", tolerance=1e-4)
