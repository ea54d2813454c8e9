"""Checkpoint: lessons 00 to 05 together, all of them yours. `pytest lessons/05 --mine`

No points, but the first time that everything you wrote works as one library. Where it does not, the
lesson that is the cause is named.
"""

import torch
import torch.nn.functional as F

from grader.checks import checkpoint
from grader.gpt2 import gpt2_logits

STORY = (
    "Once upon a time a small bear found a red ball under the old tree. The ball was wet, so the "
    "bear let it dry in the sun. Then a bird, Zoë, came and said: is that my ball? Yes, said the bear, "
    "and gave it back. They played until the sun went down, and the ball was never lost again."
)
SHAPE = {"block_size": 128, "n_layer": 2, "n_head": 4, "n_embd": 32}


def story_as_ids(lesson):
    """Return the tokenizer that learnt the story, its size, and the story as ids (1, T)."""
    tokenizer = lesson.needed("tokenizer")
    bpe = tokenizer.BPETokenizer(tokenizer.train_bpe(STORY, 320))
    return bpe, bpe.read("vocab_size"), torch.tensor([bpe.encode(STORY)])


@checkpoint("GPT.forward")
def test_your_tokenizer_gives_a_story_back(lesson, expect):
    """Your tokenizer learns a story, cuts it into fewer pieces than bytes, and gives it back."""
    bpe, _, ids = story_as_ids(lesson)
    expect(bpe.decode(ids[0].tolist()), STORY, of="the story, encoded and decoded")
    expect.true(ids.shape[1] < len(STORY.encode()) / 2, "the story takes too many tokens")


@checkpoint("GPT.forward")
def test_your_model_learns_a_story_by_heart(lesson, expect):
    """Your model learns the story by heart, better than your bigram, and tells it by itself."""
    bpe, vocab_size, ids = story_as_ids(lesson)
    ids = ids[:, : SHAPE["block_size"] + 1]
    bigram = lesson.needed("bigram")
    table = bigram.bigram_logits(bigram.bigram_counts(ids[0], vocab_size), 0.01)
    counted = F.cross_entropy(table[ids[0, :-1]], ids[0, 1:])
    expect(bigram.cross_entropy(table[ids[0, :-1]], ids[0, 1:]), counted, of="the bigram's loss")

    model = lesson.GPT(lesson.GPTConfig(vocab_size=vocab_size, **SHAPE))
    losses = lesson.toy("learnt by heart", model, ids, 120, 1e-2).read("losses")
    logits, loss = model(ids[:, :-1], ids[:, 1:])
    by_the_judge = gpt2_logits(model.weights(), ids[:, :-1], SHAPE["n_head"])
    expect(logits, by_the_judge, of="the logits, beside the judge's own GPT-2", tolerance=1e-4)
    expect(loss, F.cross_entropy(by_the_judge[0], ids[0, 1:]), of="the loss", tolerance=1e-4)
    expect.true(
        losses[-1] < 0.1 < counted < losses[0],
        f"the model does not learn: its loss went from {losses[0]:.2f} to {losses[-1]:.2f}",
        details=f"counting pairs gives {counted:.2f}; below 0.1 is by heart",
    )
    told = ids[:, :4]
    for _ in range(20):
        told = torch.cat([told, model(told)[0][:, -1:].argmax(-1)], dim=1)
    expect(bpe.decode(told[0].tolist()), bpe.decode(ids[0, :24].tolist()), of="the story, told")
