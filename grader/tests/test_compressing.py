"""Small models end to end: what is saved loads again, what is claimed is measured, what is wrong is said."""

import contextlib
import io
import json
import math
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from solutions.compression import QuantizedLinear, quantize_rows
from solutions.engine.acceleration import use_fast_parts
from solutions.engine.checkpoints import load_weights
from solutions.engine.compression.command import main
from solutions.engine.compression.distilling import (
    Lesson,
    Recipe,
    every_other,
    make_student,
    train_small,
)
from solutions.engine.compression.fast import has_int8_products, use_fast_int8
from solutions.engine.compression.material import find_subject, held_out, usual_text
from solutions.engine.compression.measuring import bits_of, bytes_on_disk, packed_bytes
from solutions.engine.compression.pruning import masks_for, prune_model, sparsities
from solutions.engine.compression.quantising import (
    layer_errors,
    linear_layers,
    quantize_model,
    quantize_tables,
)
from solutions.engine.compression.saving import load_int8, save_int8, save_ordinary
from solutions.engine.compression.table import ROWS
from solutions.engine.compression.wishes import teaching_steps
from solutions.engine.errors import CourseError
from solutions.engine.ministories import stories
from solutions.engine.tokenizers import load_tokenizer
from solutions.model import GPT, GPTConfig

VOCABULARY, BLOCK = 300, 32


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(f"bpe:{VOCABULARY}", list(stories(0, 0, 20)))


def tiny(**changes) -> GPT:
    torch.manual_seed(3)
    shape = {"vocab_size": VOCABULARY, "block_size": BLOCK, "n_layer": 4, "n_head": 2, "n_embd": 32}
    model = GPT(GPTConfig(**shape | changes))
    with torch.no_grad():
        for parameter in model.parameters():  # so that layers matter, and biases are not 0
            parameter.mul_(4.0).add_(0.02 * torch.randn(parameter.shape))
    return model.eval()


def tiny_llama():
    from solutions.modern import Llama, LlamaConfig

    torch.manual_seed(4)
    config = LlamaConfig(
        vocab_size=VOCABULARY, block_size=BLOCK, n_layer=3, n_head=4, n_kv_head=2, n_embd=32, n_inner=48,
        tie_weights=False,
    )  # fmt: skip
    return Llama(config).eval()


KINDS = {
    "tied": tiny,
    "untied": lambda: tiny(tie_weights=False),
    "7 heads on 32": lambda: tiny(n_head=7),
    "llama": tiny_llama,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer) -> Path:
    """A small model, saved, and a text beside it."""
    place = tmp_path_factory.mktemp("compressing")
    save_ordinary(tiny(), place / "tiny", tokenizer, {})
    (place / "tiny" / "compression.json").unlink()
    text = "<|endoftext|>".join(stories(3, 0, 60))
    (place / "stories.txt").write_text(text, encoding="utf-8")
    return place


def ids(rows: int = 2, length: int = BLOCK) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(ids())[0]


# Int8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activations", [False, True])
@pytest.mark.parametrize("with_tables", [False, True])
def test_int8_loads_again_and_is_what_was_saved(
    kind, activations, with_tables, tokenizer, tmp_path
):
    model = KINDS[kind]().half().float()  # what a file keeps of the other numbers
    plain = logits(model)
    tables = quantize_tables(model) if with_tables else {}
    quantize_model(model, activations)
    save_int8(model, tables, tmp_path / "small", tokenizer, {})
    again = load_weights(tmp_path / "small")  # the way in which every command loads a model
    assert type(again) is type(model) and not again.training
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=0)
    off = (logits(again) - plain).norm() / plain.norm()
    assert 0 < off < 0.1
    for name, layer in linear_layers(again).items():
        assert isinstance(layer, QuantizedLinear) and layer.activations == activations, name
        assert layer.weight.dtype == torch.int8
    size = bytes_on_disk(tmp_path / "small")
    assert packed_bytes(model) <= size + (0 if not with_tables else packed_bytes(model))
    if with_tables:
        numbers = sum(p.numel() for p in KINDS[kind]().parameters())
        assert size < 1.35 * numbers + 8000  # a byte a number, scales, and the head of the file
    save_int8(
        again, quantize_tables(again) if with_tables else {}, tmp_path / "twice", tokenizer, {}
    )
    torch.testing.assert_close(logits(load_weights(tmp_path / "twice")), logits(again))


def test_only_the_blocks_layers_change():
    model = tiny()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    quantize_model(model)
    left = dict(model.named_parameters())
    assert set(before) - set(left) == {
        f"{name}.{part}" for name in linear_layers(model) for part in ("weight", "bias")
    }
    assert len(linear_layers(model)) == 16
    assert model.lm_head.weight is model.transformer.wte.weight
    for name, parameter in left.items():
        assert torch.equal(parameter, before[name])


@pytest.mark.parametrize("activations", [False, True])
def test_every_layers_error_is_below_its_bound_and_not_nothing(activations):
    errors = layer_errors(tiny(), ids(), activations)
    assert len(errors) == 16
    for name, error in errors.items():
        assert error.largest > 0 and 0 < error.relative < 0.05, name
        assert 0.01 < error.of_bound <= 1, name
    worse = layer_errors(tiny(), ids(), True)
    better = layer_errors(tiny(), ids(), False)
    assert sum(e.relative for e in worse.values()) > sum(e.relative for e in better.values())


@pytest.mark.skipif(
    not has_int8_products(torch.device("cpu")), reason="this processor has no int8 products"
)
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 1, 64), (2, 9, 33)])
@pytest.mark.parametrize("bias", [False, True])
def test_fast_int8_computes_the_same(shape, bias):
    torch.manual_seed(0)
    layer = QuantizedLinear(nn.Linear(shape[-1], 12, bias=bias), activations=True)
    x = torch.randn(shape)
    x[0, 0] = 0.0
    plain = layer(x)
    torch.testing.assert_close(use_fast_int8(layer)(x), plain, rtol=1e-5, atol=1e-6)
    assert layer(x.bfloat16()).dtype == torch.bfloat16


def test_a_model_is_as_good_with_fast_int8(folder):
    text = held_out(find_subject(str(folder / "tiny")), str(folder / "stories.txt"), 300)
    plain, quick = (quantize_model(tiny(), activations=True) for _ in range(2))
    use_fast_int8(use_fast_parts(quick))
    assert bits_of(quick, text) == pytest.approx(bits_of(plain, text), rel=1e-4)


def test_damaged_int8_folders_are_refused(tokenizer, tmp_path):
    def fresh() -> Path:
        shutil.rmtree(tmp_path / "small", ignore_errors=True)
        save_int8(quantize_model(tiny()), {}, tmp_path / "small", tokenizer, {})
        return tmp_path / "small"

    def settings(place: Path, **changes) -> None:
        file = place / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    place = fresh()
    raw = bytearray((place / "model.safetensors").read_bytes())
    raw[-20] ^= 255
    (place / "model.safetensors").write_bytes(raw)
    with pytest.raises(CourseError, match="checksum"):
        load_int8(place)
    (place / "model.safetensors").write_bytes(b"no")
    with pytest.raises(CourseError, match="damaged"):
        load_int8(place)
    (place / "model.safetensors").unlink()
    with pytest.raises(CourseError, match="lacks"):
        load_int8(place)
    for changes, says in (
        ({"architecture": "GPT-7"}, "does not describe"),
        ({"model": {"vocab_size": 3, "colour": 1}}, "does not describe"),
        ({"model": [1, 2]}, "does not describe"),
    ):
        place = fresh()
        settings(place, **changes)
        with pytest.raises(CourseError, match=says):
            load_int8(place)
    model = json.loads((fresh() / "config.json").read_text())["model"]
    settings(place, model=model | {"n_layer": 3_000_000})
    with pytest.raises(CourseError, match="layers"):
        load_int8(place)
    settings(fresh(), model=model | {"n_embd": 48})
    with pytest.raises(CourseError, match="do not fit"):
        load_int8(place)


def test_numbers_that_16_bits_cannot_hold_are_not_written(tokenizer, tmp_path):
    model = tiny()
    with torch.no_grad():
        model.transformer.ln_f.weight[0] = 1e6
    with pytest.raises(CourseError, match=r"ln_f\.weight"):
        save_int8(quantize_model(model), {}, tmp_path / "small", tokenizer, {})
    with pytest.raises(CourseError, match=r"ln_f\.weight"):
        save_ordinary(model, tmp_path / "small", tokenizer, {})
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_models_load_again_with_16_bits(kind, tokenizer, tmp_path):
    model = KINDS[kind]()
    save_ordinary(model, tmp_path / "small", tokenizer, {"what": "small"})
    again = load_weights(tmp_path / "small")
    torch.testing.assert_close(logits(again), logits(model.half().float()), rtol=0, atol=0)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert 2 * numbers < bytes_on_disk(tmp_path / "small") < 2 * numbers + 12_000
    assert load_tokenizer(str(tmp_path / "small")).fingerprint() == tokenizer.fingerprint()


def test_a_tokenizer_that_does_not_fit_is_refused(folder, tmp_path):
    shutil.copytree(folder / "tiny", tmp_path / "tiny")
    for file in ("vocab.json", "merges.txt"):
        (tmp_path / "tiny" / file).unlink()  # then GPT-2's is taken
    with pytest.raises(CourseError, match="50,257 tokens, the model only 300"):
        find_subject(str(tmp_path / "tiny")).load()


def test_the_usual_text_is_real_where_it_is_there_and_else_is_read_first(
    folder, tmp_path, monkeypatch
):
    small, other = find_subject(None), find_subject(str(folder / "tiny"))
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert usual_text(small) == ("ministories", None)
    wishes = SimpleNamespace(teach=None, data=None, steps=7)
    assert (teaching_steps(wishes, small), teaching_steps(wishes, other)) == (7, 0)
    assert teaching_steps(SimpleNamespace(teach=0, data="ministories", steps=7), small) == 0
    files = [tmp_path / "tinystories-train.txt", tmp_path / "tinystories-valid.txt"]
    for file in files:
        file.write_text("Once.", encoding="utf-8")
    assert usual_text(small) == tuple(map(str, files))
    assert teaching_steps(wishes, small) == 0


# Pruning


@pytest.mark.parametrize(
    ("how", "share"), [("0.5", 0.5), ("0.3 layer", 0.3), ("2:4", 0.5), ("1:4 ", 0.75), ("0", 0.0)]
)
def test_pruned_models_have_that_many_zeros_and_stay_so_while_they_learn(how, share):
    model = tiny()
    masks = prune_model(model, how)
    assert sparsities(model)["all"][2] == pytest.approx(share, abs=1e-3)
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, 2000)
    recipe = Recipe(steps=3, batch_size=2, block_size=16, lr=1e-2, scratch_lr=1e-2)
    before = model.transformer.h[0].mlp.c_fc.weight.clone()
    train_small(model, tokens, recipe, masks=masks, quiet=True)
    assert sparsities(model)["all"][0] >= round(share * sparsities(model)["all"][1])
    for name, mask in masks.items():
        assert (model.get_parameter(name)[~mask] == 0).all()
    assert not torch.equal(model.transformer.h[0].mlp.c_fc.weight, before)


def test_packed_bytes_are_those_of_a_real_packing():
    model = tiny()
    prune_model(model, "0.7")
    total = 0
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        values = tensor.half().numpy()
        if name.removesuffix(".weight") in linear_layers(model) and (values == 0).mean() > 0.0625:
            total += np.packbits(values != 0).nbytes + values[values != 0].nbytes
        else:
            total += values.nbytes
    assert packed_bytes(model) == total
    assert packed_bytes(model) < 0.75 * packed_bytes(tiny())


def test_words_that_name_no_pruning_are_refused():
    for how in ("half", "1.5", "0.5 blocks", "5:4", "2:0", "2:5", "-0.1", ""):
        with pytest.raises(CourseError, match="cannot prune"):
            masks_for(tiny(), how)


# Distillation


@pytest.mark.parametrize("kind", ["tied", "llama"])
def test_a_student_begins_with_copies_of_every_other_layer(kind):
    teacher = KINDS[kind]()
    layers = every_other(teacher.config.n_layer)
    student = make_student(teacher, layers, 0)
    assert layers == [0, 2] and student.config.n_layer == 2
    theirs, ours = teacher.state_dict(), student.state_dict()
    for name, tensor in ours.items():
        old = name.replace(".h.1.", ".h.2.").replace("layers.1.", "layers.2.")
        assert torch.equal(tensor, theirs[old]), name
        assert tensor.data_ptr() != theirs[old].data_ptr()
    if kind == "tied":
        assert student.lm_head.weight is student.transformer.wte.weight
    random = make_student(teacher, None, 0)
    assert random.config.n_layer == 2
    assert not torch.equal(logits(random), logits(student))
    assert torch.equal(logits(random), logits(make_student(teacher, None, 0)))


def test_a_student_of_all_layers_is_its_teacher():
    teacher = tiny()
    assert torch.equal(logits(make_student(teacher, [0, 1, 2, 3], 0)), logits(teacher))


def test_every_other_layer_of_odd_and_small_models():
    assert [every_other(n) for n in (1, 2, 3, 6, 12)] == [
        [0], [0], [0, 2], [0, 2, 4], [0, 2, 4, 6, 8, 10]
    ]  # fmt: skip


@pytest.mark.parametrize("layers", [[], [2, 0], [0, 0], [0, 4], [-1, 2]])
def test_layers_that_make_no_student_are_refused(layers):
    with pytest.raises(CourseError, match="--layers"):
        make_student(tiny(), layers, 0)


def test_a_student_comes_closer_to_its_teacher_which_stays_as_it_was():
    teacher = tiny()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, 4000)
    recipe = Recipe(steps=40, batch_size=8, block_size=16, lr=5e-3, scratch_lr=5e-3, mix=1.0)
    student = make_student(teacher, [0, 2], 0)

    def distance() -> float:
        p, q = (torch.log_softmax(logits(model), -1) for model in (teacher, student))
        return float((p.exp() * (p - q)).sum(-1).mean())

    first = distance()
    trained = train_small(student, tokens, recipe, teacher=teacher, quiet=True)
    assert distance() < 0.7 * first
    assert len(trained.losses) == 5 and trained.seconds > 0
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_loss_of_a_lesson_is_lesson_13s_or_that_of_the_text_alone():
    from solutions.compression import distillation_loss

    teacher, student = tiny(), make_student(tiny(), [0, 2], 0).eval()
    inputs, targets = ids(), ids().roll(-1, dims=1)
    recipe = Recipe(1, 2, BLOCK, 1e-3, 1e-3, temperature=3.0, mix=0.25)
    with torch.no_grad():
        _, loss = Lesson(student, teacher, recipe, "fp32")(inputs, targets)
        wanted = distillation_loss(logits(student), logits(teacher), targets, 3.0, 0.25)
        _, alone = Lesson(student, None, recipe, "fp32")(inputs, targets)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(alone, student(inputs, targets)[1])
    lesson = Lesson(student, teacher, recipe, "fp32")
    assert len(list(lesson.parameters())) == len(list(student.parameters()))


def test_training_again_gives_the_same():
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, 2000)
    recipe = Recipe(steps=4, batch_size=2, block_size=16, lr=1e-3, scratch_lr=1e-3)
    twice = [make_student(tiny(), None, 7) for _ in range(2)]
    for model in twice:
        train_small(model, tokens, recipe, from_scratch=True, quiet=True)
    assert torch.equal(logits(twice[0]), logits(twice[1]))


def test_a_training_that_diverges_says_so():
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, 2000)
    model = tiny()
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(math.inf)
    with pytest.raises(CourseError, match="diverged"):
        train_small(model, tokens, Recipe(5, 2, 16, 1e-3, 1e-3), quiet=True)


# Measuring


def test_bits_per_byte_are_lesson_10s(folder):
    from solutions.perplexity import bits_per_byte, score

    text = held_out(find_subject(str(folder / "tiny")), str(folder / "stories.txt"), 200)
    model = tiny()
    nats, _ = score(model, torch.from_numpy(text.tokens), BLOCK, BLOCK)
    assert bits_of(model, text) == pytest.approx(bits_per_byte(nats, text.n_bytes), rel=1e-5)
    document = (folder / "stories.txt").read_text(encoding="utf-8")
    assert text.n_bytes < len(document.encode())
    assert len(text.tokens) == 201


# The command


def command(*arguments, cwd: Path) -> SimpleNamespace:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = error.code
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


QUICKLY = ("--text", "stories.txt", "--tokens", 120, "--quiet")
TRAINED = ("--data", "stories.txt", "--steps", 2, "--batch-size", 2, "--tokens", 120, "--quiet")


@pytest.mark.parametrize("more", [(), ("--activations",), ("--tables",)])
def test_quantize_evaluate_generate(folder, tmp_path, more):
    out = tmp_path / "int8"
    made = command("quantize", "--model", "tiny", "--out", out, *more, *QUICKLY, cwd=folder)
    assert made.code == 0, made.err
    assert made.out.count("%") >= 2 * 16 and f"saved: {out}" in made.out
    assert json.loads((out / "compression.json").read_text())["errors"]
    bits = made.out.split("int8 ")[-1].split("bits per byte ")[1].split()[0]
    seen = command("evaluate", "--model", out, *QUICKLY, cwd=folder)
    assert seen.code == 0 and f"bits per byte {bits}" in seen.out
    told = command("generate", "--model", out, "--prompt", "A cat", "--words", 5, cwd=folder)
    assert told.code == 0 and told.out.startswith("A cat")


@pytest.mark.slow
def test_prune_saves_an_ordinary_model_that_transformers_loads(folder, tmp_path):
    out = tmp_path / "sparse"
    made = command(
        "prune", "--model", "tiny", "--sparsity", "0.6", "--scope", "layer", "--out", out, *QUICKLY,
        cwd=folder,
    )  # fmt: skip
    assert made.code == 0, made.err
    model = load_weights(out)
    assert sparsities(model)["all"][2] == pytest.approx(0.6, abs=1e-3)
    from transformers import GPT2LMHeadModel

    theirs = GPT2LMHeadModel.from_pretrained(out, dtype=torch.float32)
    torch.testing.assert_close(theirs(ids()).logits, logits(model), rtol=1e-4, atol=1e-4)


def test_several_sparsities_are_measured_and_nothing_is_saved(folder, tmp_path):
    before = set(folder.iterdir())
    made = command("prune", "--model", "tiny", "--sparsity", "0.2", "2:4", *QUICKLY, cwd=folder)
    assert made.code == 0, made.err
    assert "0.2 global" in made.out and "2:4" in made.out and "not at all" in made.out
    assert set(folder.iterdir()) == before


def test_distill_makes_half_a_model(folder, tmp_path):
    out = tmp_path / "half"
    made = command("distill", "--model", "tiny", "--out", out, *TRAINED, cwd=folder)
    assert made.code == 0, made.err
    student = load_weights(out)
    assert student.config.n_layer == 2 and student.config.dropout == 0.0
    assert json.loads((out / "compression.json").read_text())["layers"] == [0, 2]


def test_the_table_is_whole_and_goes_on_where_it_was(folder, tmp_path):
    out = tmp_path / "table"
    ask = ("table", "--model", "tiny", "--out", out, *TRAINED)
    first = command(*ask, "--rows", "full", "int8", "scratch", cwd=folder)
    assert first.code == 0, first.err
    assert {row["name"] for row in json.loads((out / "table.json").read_text())["rows"]} == {
        "full", "int8", "scratch"
    }  # fmt: skip
    stamp = (out / "scratch" / "model.safetensors").stat().st_mtime_ns
    shutil.rmtree(out / "int8")  # as if it had been stopped before
    whole = command(*ask, cwd=folder)
    assert whole.code == 0, whole.err
    assert (out / "scratch" / "model.safetensors").stat().st_mtime_ns == stamp
    table = json.loads((out / "table.json").read_text())
    rows = {row["name"]: row for row in table["rows"]}
    assert tuple(rows) == ROWS
    assert rows["int8"]["mb"] < 0.75 * rows["full"]["mb"]
    assert rows["int8-tables"]["mb"] < rows["int8"]["mb"]
    assert (
        rows["pruned"]["packed_mb"]
        < rows["full"]["packed_mb"]
        == pytest.approx(rows["full"]["mb"], rel=0.1)
    )
    assert rows["distilled"]["parameters"] == rows["scratch"]["parameters"]
    assert rows["int8"]["parameters"] == rows["full"]["parameters"]
    assert {rows[name]["steps"] for name in ("pruned-trained", "distilled", "half", "scratch")} == {
        2
    }
    assert all(
        row[name] > 0 for row in rows.values() for name in ("bits_per_byte", "reading", "writing")
    )
    text = (out / "table.md").read_text(encoding="utf-8")
    for name in ROWS:
        assert f"| {name} |" in text and name in whole.out
    for name in ROWS:  # every row is a model that loads
        told = command("generate", "--model", out / name, "--words", 3, cwd=folder)
        assert told.code == 0, told.err
    other = command(*ask, "--mix", "0.9", cwd=folder)
    assert other.code == 2 and "begun with mix 0.5" in other.err


def test_a_runs_own_text_is_what_it_learns_from_and_is_measured_on(folder, tmp_path):
    from solutions.engine.prepare import prepare

    run = tmp_path / "mine"
    shutil.copytree(folder / "tiny", run / "checkpoints" / "best")
    meta = prepare(run / "data", str(folder / "stories.txt"), tokenizer=str(folder / "tiny"),
                   progress=False)  # fmt: skip
    made = command("distill", "--model", run, "--out", tmp_path / "half", "--steps", 2,
                   "--batch-size", 2, "--tokens", 50, "--quiet", cwd=tmp_path)  # fmt: skip
    assert made.code == 0, made.err
    assert f"the text of the run mine, {meta['train_tokens']:,} tokens" in made.out
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "half"}  # nothing prepared anew
    seen = command(
        "evaluate", "--model", run / "checkpoints" / "best", "--tokens", 50, cwd=tmp_path
    )
    assert "the text of the run mine" in seen.out
    save_ordinary(tiny(vocab_size=299), run / "checkpoints" / "best",
                  load_tokenizer("bpe:299", list(stories(9, 0, 20))), {})  # fmt: skip
    other = command("distill", "--model", run, "--out", tmp_path / "x", cwd=tmp_path)
    assert other.code == 2 and "another tokenizer" in other.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("quantize", "--model", "nothing"), "no folder nothing"),
        (("quantize", "--model", "stories.txt"), "is a file"),
        (("quantize", "--model", "tiny", "--text", "none.txt"), "no file none.txt"),
        (("quantize", "--model", "tiny", "--tokens", "1"), "--tokens must be at least 2"),
        (("quantize", "--model", "tiny", "--out", "stories.txt"), "is a file"),
        (("quantize", "--model", "tiny", "--out", "."), "holds something else"),
        (("prune", "--model", "tiny", "--sparsity", "x"), "cannot prune by 'x global'"),
        (("prune", "--model", "tiny", "--sparsity", "0.5", "3:2"), "cannot prune by '3:2'"),
        (("prune", "--model", "tiny", "--steps", "-1"), "--steps must be"),
        (("distill", "--model", "tiny", "--mix", "2"), "--mix must be between 0 and 1"),
        (("distill", "--model", "tiny", "--temperature", "0"), "--temperature must be above 0"),
        (("distill", "--model", "tiny", "--layers", "a,b"), "--layers takes numbers"),
        (("distill", "--model", "tiny", "--layers", "0,9"), "--layers goes from 0 to 3"),
        (("distill", "--model", "tiny", "--steps", "0"), "--steps must be at least 1"),
        (("distill", "--model", "tiny", "--block-size", "999"), "--block-size is at most"),
        (("distill", "--model", "tiny", "--device", "tpu"), "no device called 'tpu'"),
        (("table", "--model", "tiny", "--rows", "fuller"), "no row 'fuller'"),
        (("table", "--model", "tiny", "--lr", "0"), "--lr must be above 0"),
        (("table", "--model", "tiny", "--layers", "0,7"), "--layers goes from 0 to 3"),
    ],
)
def test_misuse_ends_in_one_sentence(folder, arguments, says):
    before = set(folder.iterdir())
    result = command(*arguments, cwd=folder)
    assert result.code == 2 and says in result.err, (result.out, result.err)
    assert len(result.err.strip().splitlines()) == 1 and "Traceback" not in result.err
    assert set(folder.iterdir()) == before


def test_int8_is_no_place_to_begin_from(folder, tmp_path):
    command("quantize", "--model", "tiny", "--out", tmp_path / "int8", *QUICKLY, cwd=folder)
    for what in ("quantize", "prune", "distill", "table"):
        result = command(what, "--model", tmp_path / "int8", "--out", tmp_path / "x", cwd=folder)
        assert result.code == 2 and "in int8 already" in result.err


def test_a_row_that_does_not_fit_the_model_is_left_out(folder, tokenizer, tmp_path):
    save_ordinary(tiny(n_head=7), tmp_path / "odd", tokenizer, {})  # 28 inputs fit, 30 do not
    save_ordinary(tiny(n_embd=30, n_head=3), tmp_path / "narrow", tokenizer, {})
    for name, rows in (("odd", {"full", "pruned-2-4"}), ("narrow", {"full"})):
        out = tmp_path / f"{name}-table"
        made = command("table", "--model", tmp_path / name, "--out", out, *TRAINED, "--rows", "full",
                       "pruned-2-4", cwd=folder)  # fmt: skip
        assert made.code == 0, made.err
        assert {row["name"] for row in json.loads((out / "table.json").read_text())["rows"]} == rows
        assert ("is left out: " in made.out) == (name == "narrow")


@pytest.mark.slow
def test_our_own_small_model_loses_almost_nothing_in_int8(tmp_path):
    made = command("quantize", "--tokens", 3000, "--out", tmp_path / "int8", cwd=tmp_path)
    assert made.code == 0, made.err
    before, after = (
        float(line.split("bits per byte ")[1].split()[0])
        for line in made.out.splitlines()
        if line.startswith(("before", "int8"))
    )
    assert after == pytest.approx(before, abs=0.005)
    assert bytes_on_disk(tmp_path / "int8") < 0.7 * bytes_on_disk(find_subject(None).folder)


def test_rows_of_a_quantized_weight_are_lesson_13s():
    model = tiny()
    linear = model.transformer.h[2].attn.c_proj
    numbers, scale = quantize_rows(linear.weight)
    layer = linear_layers(quantize_model(model))["transformer.h.2.attn.c_proj"]
    assert torch.equal(layer.weight, numbers) and torch.equal(layer.scale, scale)
