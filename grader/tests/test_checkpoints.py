"""The judge's own look at a trained model, tried on whole, broken, copied and dishonest ones."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from grader import baseline, checkpoints
from grader.checkpoints import Model, examine, faults_of, read_model
from grader.judge.backends import InThisProcess
from grader.judge.paths import ROOT, judged_path
from grader.judge.runner import PASSED, Target, load_checks, run_check
from grader.syllabus import find_lesson
from grader.tests.program import FINISHED, TINY, succeeds
from lessons.engine.errors import CourseError
from solutions.engine.evaluation import score_text
from solutions.engine.pretrained import save_model
from solutions.engine.tokenizers import load_tokenizer
from solutions.model import GPT, GPTConfig

SIZES = {"vocab_size": 60, "block_size": 16, "n_layer": 2, "n_embd": 24}


def saved(folder: Path, n_head: int = 4, **more) -> GPT:
    """A model of weights none of which is zero or one, in a folder; 5 heads have our own layout."""
    torch.manual_seed(n_head)
    model = GPT(GPTConfig(**SIZES, n_head=n_head, dropout=0.0, **more))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    save_model(model, folder)
    return model.eval()


def change(folder: Path, **edits) -> None:
    """Write the weights of a folder again, with some of them replaced or (None) left out."""
    weights = load_file(folder / "model.safetensors") | edits
    kept = {name: weight for name, weight in weights.items() if weight is not None}
    save_file(kept, folder / "model.safetensors")


@pytest.mark.parametrize(
    "more", [{"n_head": 4}, {"n_head": 5}, {"n_head": 4, "tie_weights": False}]
)
def test_its_forward_pass_gives_the_losses_of_the_course(tmp_path, more):
    ours, theirs = saved(tmp_path, **more), read_model(tmp_path)
    assert faults_of(theirs) == []
    texts = [[3, 1, 4, 1, 5, 9, 2, 6] * 5, [7], [8] * 16]
    for ids, nats in zip(texts, checkpoints.nats_of(theirs, texts, start=2), strict=True):
        whole = torch.tensor([2, *ids])
        wanted = score_text(ours, whole.numpy(), block_size=16).nats
        assert float(nats) == pytest.approx(wanted, rel=1e-5)


def test_bits_per_byte_of_a_model_that_knows_nothing_are_eight():
    sizes = {"vocab_size": 256, "block_size": 8, "n_layer": 1, "n_head": 1, "n_embd": 4}
    shapes = checkpoints.weight_shapes(**sizes)
    model = Model({name: torch.zeros(shape) for name, shape in shapes.items()}, sizes)
    stories = checkpoints.fresh_stories(3, 2)
    assert checkpoints.bits_per_byte(model, [*stories, "Zoë"]) == pytest.approx(8.0)
    assert stories != checkpoints.fresh_stories(4, 2)


@pytest.mark.parametrize("n_head", [4, 5])
def test_broken_weights_are_named(tmp_path, n_head):
    """Each fault in a sentence of its own, in both layouts."""
    saved(tmp_path, n_head)
    name = "transformer.h.1.mlp.c_fc.weight"
    weight = load_file(tmp_path / "model.safetensors")[name]
    for edit, sentence in [
        ({name: None}, f"the weights lack {name}"),
        ({"extra": torch.ones(2)}, "the weights hold something foreign: extra"),
        ({name: weight[:-1]}, f"{name} is {tuple(weight[:-1].shape)}, by the configuration it is"),
        ({name: weight.T.contiguous()}, f"{name} is {tuple(weight.T.shape)}, by the configuration"),
        ({name: weight.half()}, f"{name} holds float16, not float32"),
        ({name: weight.long()}, f"{name} holds int64, not float32"),
        ({name: weight.log()}, "that are nan or inf"),
        ({name: weight / 0}, f"{name} has {weight.numel()} numbers (of {weight.numel()})"),
    ]:
        saved(tmp_path, n_head)
        change(tmp_path, **edit)
        (fault,) = examine(tmp_path, seed=1).faults
        assert sentence in fault


def test_folders_that_hold_no_model_are_one_sentence(tmp_path):
    """Missing, pickled, cut off, or with sizes that nobody could hold in memory."""
    assert "config.json" in examine(tmp_path / "nowhere", seed=1).faults[0]
    saved(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    for wrong in ({"n_layer": 10**7}, {"n_embd": -1}, {"n_head": 0}, {"vocab_size": "many"}):
        (tmp_path / "config.json").write_text(json.dumps(settings | wrong))
        assert len(examine(tmp_path, seed=1).faults) == 1, wrong
    (tmp_path / "config.json").write_text(json.dumps(settings))
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "damaged" in examine(tmp_path, seed=1).faults[0]
    weights.rename(tmp_path / "pytorch_model.bin")
    assert "pickled" in examine(tmp_path, seed=1).faults[0]
    with pytest.raises(CourseError):
        read_model(tmp_path)


def copied(weights: dict[str, torch.Tensor]) -> list[str]:
    """What the judge says about these weights, in the stand-in's shape."""
    stand_in = baseline.stand_in()
    model = Model(weights, stand_in.config, as_in_files=True)
    assert faults_of(model) == []
    return checkpoints.copied_from(model, checkpoints.known_models(model))


def test_a_copied_baseline_is_found_whatever_was_done_to_it():
    """Scaled, rounded to 8 bits, noisy, its layers in another order, one matrix only."""
    whole = baseline.stand_in().weights  # with GPT-2's old masks, which no model of ours has
    weights = {n: w for n, w in whole.items() if not n.endswith((".attn.bias", ".masked_bias"))}
    linear = [name for name, weight in weights.items() if weight.dim() == 2 and ".h." in name]

    def rounded(weight: torch.Tensor) -> torch.Tensor:
        step = weight.abs().max() / 127
        return (weight / step).round() * step

    def noisy(weight: torch.Tensor) -> torch.Tensor:
        return weight + 0.3 * weight.std() * torch.randn_like(weight)

    torch.manual_seed(0)
    for altered in (torch.clone, lambda w: -3 * w, rounded, noisy):
        assert (
            "taken over from a small GPT-2"
            in copied({n: altered(w) for n, w in weights.items()})[0]
        )
    others = {"0": "1", "1": "0"}
    turned = {
        ".".join(others.get(part, part) for part in name.split(".")): weight
        for name, weight in weights.items()
    }
    assert copied(turned)
    own = {name: torch.randn_like(weight) for name, weight in weights.items()}
    assert copied(own) == []
    assert copied(own | {linear[0]: weights[linear[0]] * 2})


def test_two_models_of_the_same_text_are_no_copies(finished, tmp_path):
    """Training apart leaves matrices that have nothing to do with each other."""
    succeeds("run", "--out", tmp_path / "other", "--seed", "7", *FINISHED, cwd=tmp_path)
    mine = read_model(finished / "checkpoints" / "best")
    other = read_model(tmp_path / "other" / "checkpoints" / "best")
    blocks = {name: weight for name, weight in other.weights.items() if ".h." in name}
    likeness = [
        checkpoints.cosine(mine.weights[name], weight)
        for name, weight in blocks.items()
        if weight.dim() == 2
    ]
    assert max(likeness) < checkpoints.COPIED / 3
    assert checkpoints.copied_from(mine, {"the other": other.weights}) == []


def test_an_honest_run_is_weighed_on_fresh_stories(finished):
    look = examine(finished, seed=11)
    assert look.faults == []
    own = json.loads((finished / "metrics.json").read_text())["bits_per_byte"]
    assert look.own == own
    assert look.fresh == pytest.approx(own, rel=0.05)
    assert f"its own report says {own:.3f}" in look.summary
    assert checkpoints.newest_run(finished.parent) == finished
    assert checkpoints.newest_run(finished) is None


def test_the_tokenizer_is_read_without_the_course(finished):
    """The `tokenizers` library makes the same ids as the course's own, and back."""
    folder = finished / "data" / "tokenizer"
    ours, theirs = load_tokenizer(str(folder)), checkpoints.read_tokenizer(folder)
    for text in [*checkpoints.fresh_stories(5, 3), "Zoë  and\n\n the 3 cats' <|endoftext|> 🐱"]:
        assert theirs.encode(text.replace("<|endoftext|>", "")).ids == ours.encode(
            text.replace("<|endoftext|>", "")
        )
    ids = ours.encode("One day.")
    assert theirs.decode(ids) == "One day."


def test_other_data_is_not_compared_and_that_is_said(copy_of_finished):
    file = copy_of_finished / "data" / "meta.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"valid": "letters.txt"}))
    look = examine(copy_of_finished, seed=1)
    assert look.faults == []
    assert look.fresh is None
    assert "letters.txt" in look.summary
    file.unlink()
    assert len(examine(copy_of_finished, seed=1).faults) == 1


def test_a_model_that_has_seen_its_held_out_text_is_found(finished, tmp_path):
    """The training text is replaced by the held-out text: eight readings of it are enough."""
    fake, out = tmp_path / "fake", tmp_path / "run"
    shutil.copytree(finished / "data", fake)
    shutil.copyfile(fake / "val.bin", fake / "train.bin")
    meta = json.loads((fake / "meta.json").read_text())
    names = ("tokens", "documents", "bytes", "chars", "sha256")
    meta |= {f"train_{name}": meta[f"val_{name}"] for name in names}
    (fake / "meta.json").write_text(json.dumps(meta))
    how = ("--steps", "400", "--batch-size", "16", "--data", fake)
    options = dict(zip(TINY[:-1:2], TINY[1::2], strict=False)) | dict(
        zip(how[::2], how[1::2], strict=True)
    )
    del options["--tokenizer"]
    flat = [part for pair in options.items() for part in pair]
    succeeds("train", "--out", out, *flat, "--quiet", cwd=tmp_path)
    for seed in (1, 2, 3):
        look = examine(out, seed)
        assert any("Has it learned from the held-out text?" in fault for fault in look.faults)
        assert look.held_out < look.fresh
    assert all(not examine(finished, seed).faults for seed in (1, 2, 3))


def test_chance_alone_is_no_accusation():
    """Twenty thousand pairs of honest sets of 20 stories: not one sentence."""
    torch.manual_seed(0)
    for _ in range(20_000):
        held_out, fresh = 1.2 + 0.1 * torch.randn(2, 20)
        assert checkpoints.seen_before(held_out, fresh) == ""
    assert checkpoints.seen_before(held_out - 0.3, fresh)


# The short run of lesson 14, on libraries that are broken somewhere else.


def short_run(tmp_path: Path, module: str, source: str) -> str:
    """The verdict of the short run with the solution's recipe, where another module is broken."""
    (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
    lesson = find_lesson("14")
    (home := tmp_path / "home").mkdir(exist_ok=True)
    shutil.copy(ROOT / "solutions" / "tinystories.py", home)
    folders = [home, tmp_path, *judged_path("14", home=home)[1:]]
    checks = {check.name: check for check in load_checks(lesson)}
    target = Target(lesson, folders, InThisProcess())
    return run_check(checks["test_a_short_run_learns"], target, []).verdict


BROKEN = [
    ("trainer", "share.backward()", "(-share).backward()"),
    ("trainer", "optimizer.step()\n    return step_loss", "return step_loss"),
    ("trainer", "    norm = nn", "    optimizer.zero_grad()\n    norm = nn"),
    ("trainer", "return final_lr + (peak_lr", "return 100 * final_lr + 100 * (peak_lr"),
    ("data", "taken[:, 1:].astype", "taken[:, :-1].astype"),
    ("data", "taken[:, 1:].astype", "taken[:, ::-1][:, 1:].astype"),
]


LEARNS = [
    ("trainer", "    optimizer.zero_grad()\n    counts", "    counts"),
    ("trainer", "clip_grad_norm_(model.parameters(), max_norm)", "clip_grad_norm_([], max_norm)"),
    ("trainer", "return peak_lr * (step + 1) / warmup", "return peak_lr * step / warmup"),
]


def edited(module: str, old: str, new: str) -> str:
    source = (ROOT / "solutions" / f"{module}.py").read_text(encoding="utf-8")
    assert old in source
    return source.replace(old, new, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "old", "new"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_trainer_misses_the_short_run(tmp_path, module, old, new):
    """Up instead of down, no step, gradients thrown away, a rate far too high, targets not shifted."""
    assert short_run(tmp_path, module, edited(module, old, new)) != PASSED
    assert short_run(tmp_path, module, edited(module, old, old)) == PASSED


@pytest.mark.slow
@pytest.mark.parametrize(("module", "old", "new"), LEARNS, ids=range(len(LEARNS)))
def test_what_lets_a_model_learn_is_left_to_the_checks_of_its_lesson(tmp_path, module, old, new):
    """Old gradients kept (clipped, they are momentum), no clipping, a first step of 0: these learn.

    So does nearly all of lesson 07's bank; its own checks find it. This says what the short run is
    not for.
    """
    assert short_run(tmp_path, module, edited(module, old, new)) == PASSED
