"""What a step asks for cannot be taken from a library, by whatever name it is called."""

from functools import cache

import pytest

from grader.bank import right_variants, solution_of
from grader.judge.answers import read_answers
from grader.judge.backends import InAChild, InThisProcess
from grader.judge.forbidden import NAMES, OPERATIONS, found_in_text
from grader.judge.paths import judged_path
from grader.judge.runner import Target, load_checks, run_check
from grader.syllabus import find_lesson, read_syllabus

ALIASES = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"

# lesson, check, the body of the step (indented), and how the complaint says it
TAKEN = {
    "plain": ("00", "test_shares_by_hand", "softmax", "return torch.softmax(logits, dim=dim)"),
    "a method": ("00", "test_shares_by_hand", "softmax", "return logits.softmax(dim)"),
    "by parts of its name": (
        *("00", "test_shares_by_hand", "softmax"),
        "return getattr(torch, 'soft' + 'max')(logits, dim)",
    ),
    "a layer": ("00", "test_shares_by_hand", "softmax", "return torch.nn.Softmax(dim)(logits)"),
    "its logarithm": (
        *("00", "test_shares_by_hand", "softmax"),
        "return torch.nn.functional.log_softmax(logits, dim).exp()",
    ),
    "imported inside": (
        *("00", "test_shares_by_hand", "softmax"),
        "from torch.nn.functional import softmax as share\n    return share(logits, dim)",
    ),
    "without torch seeing it": (
        *("00", "test_shares_by_hand", "softmax"),
        "from torch.utils._python_dispatch import _disable_current_modes\n"
        "    with _disable_current_modes():\n"
        "        return getattr(torch, 'soft' + 'max')(logits, dim)",
    ),
    "attention": (
        *("03", "test_one_query_by_hand", "scaled_dot_product_attention"),
        "output = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout_p)\n"
        "    eye = torch.eye(k.shape[-2]).expand(*k.shape[:-1], k.shape[-2])\n"
        "    return output, F.scaled_dot_product_attention(q, k, eye, attn_mask=mask)",
    ),
    "gelu": ("04", "test_gelu_by_hand", "gelu", "return F.gelu(x, approximate='tanh')"),
    "rms_norm": (
        *("11", "test_root_mean_square_by_hand", "forward"),
        "return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)",
    ),
}


@cache
def backend(apart: bool):
    return InAChild() if apart else InThisProcess()


@pytest.fixture(scope="module", autouse=True)
def _stop():
    yield
    backend(True).stop()


def with_body(number: str, step: str, body: str) -> str:
    """Return the solution of a lesson with another body of one function."""
    source = solution_of(find_lesson(number))
    at = source.index(f"def {step}(")
    begin = source.index("# <solution>", at)
    end = source.index("# </solution>", begin)
    return f"{source[:begin]}{body}\n    {source[end:]}"


def judge(number: str, check: str, source: str, folder, apart: bool = False):
    lesson = find_lesson(number)
    (folder / f"{lesson.module}.py").write_text(source)
    target = Target(lesson, judged_path(number, home=folder), backend(apart))
    chosen = next(c for c in load_checks(lesson) if c.name == check)
    return run_check(chosen, target, read_answers(number).right(check))


@pytest.mark.parametrize("way", TAKEN)
@pytest.mark.parametrize("apart", [False, True], ids=["here", "apart"])
def test_a_librarys_function_gives_no_points(way, apart, tmp_path):
    number, check, step, body = TAKEN[way]
    source = with_body(number, step, body)
    if number == "04":
        source = source.replace(
            "from torch import nn", "import torch.nn.functional as F\nfrom torch import nn"
        )
    result = judge(number, check, source, tmp_path, apart)
    assert result.verdict == "failed"
    assert "yours to write" in result.symptom, result.symptom


def test_ones_own_function_of_the_same_name_may_be_called(tmp_path):
    """`softmax` of lesson 00, used in lesson 03, is the learner's own."""
    source = solution_of(find_lesson("03"))
    assert "from .bigram import softmax" in source
    assert judge("03", "test_one_query_by_hand", source, tmp_path).passed


def test_a_library_elsewhere_in_the_module_is_no_matter(tmp_path):
    source = solution_of(find_lesson("00"))
    source += "\n\ndef compare(logits):\n    return torch.softmax(logits, 0) - softmax(logits, 0)\n"
    assert judge("00", "test_shares_by_hand", source, tmp_path).passed


@pytest.mark.parametrize("number", [lesson.number for lesson in read_syllabus()])
def test_no_right_variant_reads_like_taken(number, tmp_path):
    lesson = find_lesson(number)
    for source in [solution_of(lesson), *(variant.source for variant in right_variants(lesson))]:
        file = tmp_path / "module.py"
        file.write_text(source)
        for step in lesson.steps:
            assert found_in_text(file, step.name, step.forbids) is None


BY_THE_BACK_DOOR = {
    "given a name above": (
        "_taken = torch.nn.functional\n{}",
        "return _taken.softmax(logits, dim)",
    ),
    "given two names": ("_a = torch\n_b = _a.nn\n{}", "return _b.functional.softmax(logits, dim)"),
    "the function itself": ("_taken = torch.softmax\n{}", "return _taken(logits, dim)"),
    "made in an if": ("if True:\n{indented}", "return torch.softmax(logits, dim)"),
    "made in a try": ("try:\n{indented}finally:\n    pass\n", "return torch.softmax(logits, dim)"),
    "assigned": ("softmax = torch.softmax\n", ""),
    "imported": ("from torch import softmax\n", ""),
    "put there by name": ("globals()['softmax'] = torch.softmax\n", ""),
    "out of __dict__": ("{}", "return torch.__dict__['soft' + 'max'](logits, dim)"),
    "out of vars": ("{}", "return vars(torch)['soft' + 'max'](logits, dim)"),
    "masked": ("{}", "return torch._masked_softmax(logits, torch.zeros_like(logits), dim)"),
    "a distribution": ("{}", "return torch.distributions.Categorical(logits=logits).probs"),
}


@pytest.mark.parametrize("way", BY_THE_BACK_DOOR)
def test_what_is_taken_by_the_back_door_is_seen(way, tmp_path):
    module, body = BY_THE_BACK_DOOR[way]
    function = f"def softmax(logits, dim):\n    {body}\n"
    indented = "".join(f"    {line}\n" for line in function.splitlines())
    file = tmp_path / "bigram.py"
    file.write_text("import torch\n" + module.format(function, indented=indented))
    assert found_in_text(file, "softmax", ["softmax"]) is not None


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("class Norm(torch.nn.RMSNorm):\n", "pass"),
        ("class Base(torch.nn.RMSNorm):\n    pass\n\nclass Norm(Base):\n", "pass"),
        ("class Norm(torch.nn.Module):\n", "forward = torch.nn.RMSNorm.forward"),
        (
            "class Norm(torch.nn.Module):\n",
            "def forward(self, x):\n        return self.other(x)\n\n"
            "    def other(self, x):\n        return torch.nn.functional.rms_norm(x, (3,))",
        ),
    ],
    ids=["inherited", "inherited twice", "assigned", "another method"],
)
def test_a_method_that_is_a_librarys_is_seen(head, body, tmp_path):
    file = tmp_path / "modern.py"
    file.write_text(f"import torch\n\n{head}    {body}\n")
    assert found_in_text(file, "Norm.forward", ["rms_norm"]) is not None


def test_what_another_method_does_is_no_matter_of_this_one(tmp_path):
    file = tmp_path / "modern.py"
    file.write_text(
        "import torch\n\nclass Norm(torch.nn.Module):\n    def forward(self, x):\n        return x\n\n"
        "    def fast(self, x):\n        return torch.nn.functional.rms_norm(x, (3,))\n"
    )
    assert found_in_text(file, "Norm.forward", ["rms_norm"]) is None


def test_every_name_in_the_syllabus_is_known():
    named = {name for lesson in read_syllabus() for step in lesson.steps for name in step.forbids}
    assert named <= NAMES.keys() == OPERATIONS.keys()
    assert named == NAMES.keys()  # and none is left over


def test_another_librarys_softmax_is_seen(tmp_path):
    """torch sees nothing of it, but its name stands there."""
    file = tmp_path / "bigram.py"
    body = "import scipy.special as s\n    return torch.as_tensor(s.softmax(logits.numpy(), dim))"
    file.write_text(with_body("00", "softmax", body))
    assert found_in_text(file, "softmax", ["softmax"]) is not None


def test_a_tokenizer_of_a_library_is_seen(tmp_path):
    file = tmp_path / "tokenizer.py"
    file.write_text(
        "import tiktoken as t\n\ndef helper(text):\n    return t.get_encoding('gpt2').encode(text)\n\n"
        "class BPETokenizer:\n    def encode(self, text):\n        return helper(text)\n"
    )
    assert found_in_text(file, "BPETokenizer.encode", ["tokenizer"]) == ("tokenizer", 4)
