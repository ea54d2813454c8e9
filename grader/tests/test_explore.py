"""The pictures of the lessons: that they show what the code computes, and say so to everyone."""

import contextlib
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from grader.tests.conftest import ROOT

NAMES = {
    "00": {"counts", "babble"},
    "01": {"tokens"},
    "02": {"vectors", "positions", "order"},
    "03": {"heads", "one_head"},
    "04": {"norms", "gelu"},
    "05": {"lens", "init"},
    "06": {"batch", "lengths"},
    "07": {"schedule", "curves"},
    "08": {"reshaping", "settings"},
    "09": {"steps", "cache"},
    "10": {"texts", "compare", "calibration"},
    "11": {"phases", "places", "blocks"},
    "12": {"scored", "forgetting", "rank", "margins"},
    "13": {"int8", "pruning", "soft"},
    "14": {"run", "ablation"},
}
STRANGE = "naïve 你好 😀 \u202e $x^2$ [bold]\tend"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A tiny model of GPT-2's family, made by transformers, with a tokenizer of its own."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from solutions.engine.ministories import stories
    from solutions.engine.tokenizers import load_tokenizer

    folder = tmp_path_factory.mktemp("small")
    tokenizer = load_tokenizer("bpe:300", list(stories(0, 0, 20)))
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=300, n_positions=64, n_embd=24, n_layer=2, n_head=3)
    config.initializer_range = 0.3  # so that attention is not even everywhere
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def explore(*arguments, cwd: Path) -> SimpleNamespace:
    """Run the command in this process: a new one takes seconds to import torch."""
    from solutions.explore.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = error.code
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


def refuses(*arguments, cwd: Path, says: str) -> None:
    result = explore(*arguments, cwd=cwd)
    assert result.code == 2, (result.code, result.out, result.err)
    assert len(result.err.strip().splitlines()) == 1, result.err
    assert re.search(says, result.err), result.err


def subject(folder: Path):
    from solutions.explore.library import choose_library
    from solutions.explore.subject import named_subject

    return named_subject(choose_library(), str(folder), False)


def check_figures(folder: Path, number: str) -> None:
    from PIL import Image

    listed = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    assert listed.keys() == NAMES[number]
    for name, figure in listed.items():
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.size == (figure["width"], figure["height"])
            assert figure["width"] <= 800  # readable when a phone shrinks it
            assert picture.text["Description"] == figure["alt"]
            grey = picture.convert("L")
            assert len(set(grey.getdata())) > 20, f"{name} is blank"
        assert len(figure["alt"]) > 40
        assert re.search(r"\d", figure["alt"]), "an alternative text says what there is to see"


@pytest.mark.parametrize("number", ["00", "01", "02", "03", "04", "06", "08", "09", "11", "13"])
def test_a_lesson_draws_its_figures(number, small, tmp_path):
    result = explore(
        number, "--model", small, "--out", tmp_path, "--quiet", "--tokens", 6, cwd=tmp_path
    )
    assert result.code == 0, result.out + result.err
    check_figures(tmp_path / number, number)
    for name in NAMES[number]:
        assert str(tmp_path / number / f"{name}.png") in result.out


@pytest.mark.slow
def test_all_on_our_own_small_model(tmp_path):
    result = explore("all", "--out", tmp_path, "--quiet", cwd=tmp_path)
    assert result.code == 0, result.out + result.err
    assert "our own small model" in result.out or "DistilGPT-2" in result.out
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for number, names in NAMES.items():
        check_figures(tmp_path / number, number)
        assert all(f'id="{number}-{name}"' in page for name in names)


def test_the_page_asks_nothing_of_others(small, tmp_path):
    explore("03", "--model", small, "--out", tmp_path, "--quiet", cwd=tmp_path)
    page = (tmp_path / "03" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "url(" not in page
    assert "@import" not in page
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    for tag in re.findall(r"<img[^>]*>", page):
        assert re.search(r'alt="[^"]{40,}"', tag)


def test_drawn_attention_is_the_models(small):
    from transformers import GPT2LMHeadModel

    from solutions.explore.lesson_03 import attention_weights

    ids = subject(small).encode("The dog bit the man.")
    theirs = GPT2LMHeadModel.from_pretrained(small, attn_implementation="eager")
    wanted = theirs(torch.tensor([ids]), output_attentions=True).attentions
    drawn = attention_weights(subject(small), ids)
    torch.testing.assert_close(drawn, torch.stack([a[0] for a in wanted]), rtol=1e-4, atol=1e-5)


def test_drawn_norms_are_the_models(small):
    from transformers import GPT2LMHeadModel

    from solutions.explore.lesson_04 import run_blocks

    ids = subject(small).encode("The dog bit the man.")
    theirs = GPT2LMHeadModel.from_pretrained(small)
    states = theirs(torch.tensor([ids]), output_hidden_states=True).hidden_states
    heard = run_blocks(subject(small), ids)
    for layer in range(2):  # the last of theirs has gone through ln_f
        torch.testing.assert_close(
            heard["stream"][layer], states[layer][0].norm(dim=-1), rtol=1e-4, atol=1e-4
        )


def test_lens_ends_with_the_model(small):
    from transformers import GPT2LMHeadModel

    from solutions.explore.gallery import View
    from solutions.explore.lesson_05 import lens
    from solutions.explore.library import choose_library
    from solutions.explore.options import Wishes

    view = View(Wishes(model=str(small)), choose_library())
    ids = view.subject.encode("The dog bit the man.")
    logits = GPT2LMHeadModel.from_pretrained(small)(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(
        lens(view, ids)[-1], logits.log_softmax(dim=-1), rtol=1e-4, atol=1e-4
    )


def test_entropy_is_torchs():
    from solutions.explore.lesson_08 import entropy

    logits = torch.tensor([1.0, 2.0, -torch.inf, 0.5])
    wanted = torch.distributions.Categorical(logits=logits).entropy() / math.log(2)
    assert entropy(logits) == pytest.approx(float(wanted), rel=1e-5)


def test_perplexity_is_that_of_transformers(small):
    from transformers import GPT2LMHeadModel

    from solutions.explore.lesson_10 import measures

    looked_at = subject(small)
    text = "The dog bit the man."
    ids = torch.tensor([[looked_at.tokenizer.end_of_text, *looked_at.encode(text)]])
    loss = float(GPT2LMHeadModel.from_pretrained(small)(ids, labels=ids).loss)
    found = measures(looked_at, text)
    assert found["loss"] == pytest.approx(loss, rel=1e-4)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)
    assert found["bits"] == pytest.approx(
        loss * (ids.shape[1] - 1) / math.log(2) / len(text), rel=1e-4
    )


def test_tokens_that_no_font_has(small, tmp_path, recwarn):
    result = explore("01", "--model", small, "--text", STRANGE, "--out", tmp_path, cwd=tmp_path)
    assert result.code == 0, result.out + result.err
    assert not [w for w in recwarn if "Glyph" in str(w.message)]
    assert r"b'\x" in result.out  # a part of a sign is shown as its bytes


def test_what_cannot_be_is_refused_with_a_sentence(small, tmp_path):
    model = ("--model", small, "--quiet")
    refuses("15", cwd=tmp_path, says="no pictures for '15'")
    refuses("03", *model, "--text", " ", cwd=tmp_path, says="--text is empty")
    refuses("09", *model, "--prompt", "", cwd=tmp_path, says="--prompt is empty")
    refuses("03", *model, "--layer", -1, cwd=tmp_path, says="counts from 0")
    refuses("03", "--model", "no/such-model", cwd=tmp_path, says="local cache")
    (tmp_path / "file").touch()
    refuses("03", *model, "--out", tmp_path / "file", cwd=tmp_path, says="is a file; --out")
    long = explore("03", *model, "--text", "dog " * 200, cwd=tmp_path)
    assert long.code == 2
    assert "sees 64 at most" in " ".join(long.out.split())
    part = explore("03", *model, "--head", 9, cwd=tmp_path)
    assert part.code == 1
    assert "has the heads 0 to 2" in " ".join(part.out.split())
    assert "figures are missing: 03 one_head" in part.err


@pytest.mark.parametrize(
    ("file", "content", "option", "says"),
    [
        ("a.csv", "name,temprature\na,1\n", "--settings", r"line 1: no setting 'temprature'"),
        (
            "a.csv",
            "name,top_k\na,5\nb,few\n",
            "--settings",
            r"line 3: top_k must be a whole number",
        ),
        ("a.toml", "[hot]\ntemperature = 2\ntop_p = 3\n", "--settings", r"line 3: top_p must be"),
        ("a.toml", "[hot]\ngreedy = true\ntop_k = 3\n", "--settings", r"greedy leaves nothing"),
        ("a.toml", "seed = 1\n\nlayr = 3\n", "--config", r"line 3: no option 'layr'"),
        ("a.toml", 'text = "a"\ntokens = "many"\n', "--config", r"line 2: tokens must be a whole"),
        ("a.toml", "text = \n", "--config", r"line 1"),
        ("a.json", '{"a": ""}', "--texts", r"'a' is empty"),
        ("a.json", '{"a": 1}', "--texts", r"'a' is not text"),
        ("a.json", "{", "--texts", r"line 1: no JSON"),
        ("a.txt", "\n\n", "--texts", r"holds no texts"),
    ],
)
def test_files_are_refused_by_line(file, content, option, says, tmp_path):
    (tmp_path / file).write_text(content, encoding="utf-8")
    refuses("08", option, tmp_path / file, cwd=tmp_path, says=says)


def test_settings_and_texts_of_ones_own(small, tmp_path):
    (tmp_path / "s.csv").write_text("name,top_k,greedy\nsure,,yes\nfive,5,\n", encoding="utf-8")
    (tmp_path / "t.txt").write_text("first\tThe dog ran.\nThe cat sat.\n", encoding="utf-8")
    (tmp_path / "c.toml").write_text(
        f'model = "{small}"\nsettings = "s.csv"\ntexts = "t.txt"\ntokens = 4\nout = "here"\n',
        encoding="utf-8",
    )
    result = explore("08", "--config", tmp_path / "c.toml", "--quiet", cwd=tmp_path)
    assert result.code == 0, result.out + result.err
    listed = json.loads((tmp_path / "here" / "08" / "figures.json").read_text(encoding="utf-8"))
    assert [row[0] for row in listed["settings"]["tables"][0]["rows"]] == ["sure", "five"]
    result = explore("10", "--config", tmp_path / "c.toml", "--quiet", cwd=tmp_path)
    assert result.code == 0, result.out + result.err
    listed = json.loads((tmp_path / "here" / "10" / "figures.json").read_text(encoding="utf-8"))
    assert [row[0] for row in listed["texts"]["tables"][0]["rows"]] == ["first", "line 2"]
    assert "untrained" in listed["compare"]["alt"]


def test_other_models_where_our_forward_pass_is_not_needed(small, tmp_path):
    from transformers import OPTConfig, OPTForCausalLM

    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=32,
        word_embed_proj_dim=16, max_position_embeddings=64,
    )  # fmt: skip
    OPTForCausalLM(config).save_pretrained(tmp_path / "opt")
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        if (small / file).exists():
            shutil.copy(small / file, tmp_path / "opt" / file)
    model = ("--model", tmp_path / "opt", "--out", tmp_path, "--quiet", "--tokens", 5)
    assert explore("08", *model, cwd=tmp_path).code == 0
    check_figures(tmp_path / "08", "08")
    result = explore("03", *model, cwd=tmp_path)
    assert result.code == 2
    assert "computes GPT-2's family only" in " ".join(result.out.split())


def test_the_same_twice(small, tmp_path):
    for name in ("a", "b"):
        explore("03", "--model", small, "--out", tmp_path / name, "--quiet", cwd=tmp_path)
    for file in ("heads.png", "one_head.png", "figures.json"):
        first, second = ((tmp_path / name / "03" / file).read_bytes() for name in ("a", "b"))
        assert first == second


def test_unwritten_steps_are_found(tmp_path):
    from solutions.explore.library import unwritten_steps

    file = tmp_path / "attention.py"
    file.write_text(
        "def a():\n    raise NotImplementedError('lesson 03: a')\n\n"
        "def b():\n    return 1\n    raise NotImplementedError('lesson 03: b')\n\n"
        "class C:\n    def d(self):\n        'Text.'\n        raise NotImplementedError\n",
        encoding="utf-8",
    )
    assert unwritten_steps(file) == ["a", "C.d"]


def half_finished(root: Path, *lessons: str) -> None:
    """A learner's folder without the reference, in which only these lessons are written."""
    from grader.stubs import make_stub
    from grader.syllabus import find_lesson

    shutil.copytree(
        ROOT / "lessons", root / "lessons", ignore=shutil.ignore_patterns("__pycache__")
    )
    for number in ("00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "14"):
        lesson = find_lesson(number)
        text = (ROOT / "solutions" / f"{lesson.module}.py").read_text(encoding="utf-8")
        if number not in lessons:
            text = make_stub(text, lesson)
        (root / "lessons" / number / f"{lesson.module}.py").write_text(text, encoding="utf-8")


def learner(root: Path, *arguments) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "COURSE_PATH"}
    return subprocess.run(
        [sys.executable, "-m", "lessons.explore", *map(str, arguments), "--quiet"],
        cwd=root, env=kept | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
        capture_output=True, encoding="utf-8", timeout=250,
    )  # fmt: skip


@pytest.mark.slow
def test_a_learner_half_way(small, tmp_path):
    half_finished(tmp_path, "00", "03")
    result = learner(tmp_path, "03", "--model", small)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "your bigram.py, attention.py" in result.stdout
    check_figures(tmp_path / "explore" / "03", "03")
    result = learner(tmp_path, "05", "--model", small)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "write LayerNorm.forward" in " ".join(result.stdout.split()) or (
        "in lessons/05/model.py first" in " ".join(result.stdout.split())
    )
    slip = tmp_path / "lessons" / "03" / "attention.py"
    text = slip.read_text(encoding="utf-8")
    slip.write_text(text.replace("scores = q @ k", "scores = q @ nothing @ k"), encoding="utf-8")
    result = learner(tmp_path, "03", "--model", small)
    assert result.returncode == 2
    said = " ".join(result.stdout.split())
    assert "Traceback" not in result.stderr
    assert re.search(r"NameError: .*lessons/03/attention\.py, line \d+, in scaled", said)


@pytest.mark.slow
def test_the_reference_stands_in(small, tmp_path):
    half_finished(tmp_path, "03")
    shutil.copytree(ROOT / "solutions", tmp_path / "solutions")
    result = learner(tmp_path, "03", "--model", small)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "your attention.py and the reference's bigram.py" in result.stdout
    assert "not written yet, so the reference drew" in result.stdout
