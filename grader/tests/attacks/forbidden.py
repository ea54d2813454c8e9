"""Attacks that take from a library what a step asks for.

The output is that of torch's attention, and the weights are that of the same with the identity for
values: right to the last digit, and not written by whoever hands it in.
"""

from .kit import STEPS, Attack

KIND = "forbidden calls"
STEP = "scaled_dot_product_attention"
OTHERS = tuple(step for step in STEPS if step != STEP)

NAME = "'scaled_dot_' + 'product_' + 'attention'"


def taking(
    name: str, tries: str, attention: str, before: str = "", opened: str = "", fools: bool = True
) -> Attack:
    """Return an attack. attention: what gets hold of torch's attention; before: stands above it."""
    code = f"""{before}

def scaled_dot_product_attention(q, k, v, mask=None, dropout_p=0.0):
    attention = {attention}
    eye = torch.eye(k.shape[-2]).expand(*k.shape[:-1], k.shape[-2])
    output = attention(q, k, v, attn_mask=mask, dropout_p=dropout_p)
    return output, attention(q, k, eye, attn_mask=mask)
"""
    return Attack(
        name, KIND, tries, code, base="honest", earns=OTHERS, exactly=True, fools=fools, open=opened
    )


ATTACKS = [
    taking(
        "calls_torchs_attention",
        "calls torch's attention by its name",
        "F.scaled_dot_product_attention",
    ),
    taking(
        "calls_it_by_another_name",
        "imports torch's attention under another name, and calls a helper that calls it",
        "helper",
        """
from torch.nn.functional import scaled_dot_product_attention as weighted_mean

def helper(*a, **k):
    return weighted_mean(*a, **k)
""",
    ),
    taking(
        "puts_the_name_together",
        "looks torch's attention up by a name that it puts together from parts",
        f"getattr(torch.nn.functional, {NAME})",
    ),
    taking(
        "calls_its_own_fused_form",
        "calls its own step fused_attention, which may use torch's, by a name out of globals()",
        "lambda q, k, v, attn_mask=None, dropout_p=0.0: "
        "globals()['fused_' + 'attention'](q, k, v, attn_mask, dropout_p)[0]",
    ),
    taking(
        "calls_the_operation_below",
        "calls the operation below torch's attention, which the function itself would call",
        "below",
        """
def below(q, k, v, attn_mask=None, dropout_p=0.0):
    if attn_mask is not None:
        attn_mask = torch.zeros(attn_mask.shape).masked_fill(~attn_mask, -torch.inf)
    return getattr(torch.ops.aten, '_scaled_dot_' + 'product_attention_math')(
        q, k, v, attn_mask, dropout_p)[0]
""",
    ),
    taking(
        "scripts_the_call",
        "compiles the call with TorchScript while it is imported",
        "scripted",
        f"""
_function = getattr(torch.nn.functional, {NAME})

def _call(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor):
    return _function(q, k, v)

_traced = torch.jit.trace(_call, (torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(2, 2)))

def scripted(q, k, v, attn_mask=None, dropout_p=0.0):
    if attn_mask is None and not dropout_p:
        return _traced(q, k, v)
    return _function(q, k, v, attn_mask=attn_mask, dropout_p=dropout_p)
""",
    ),
    taking(
        "hides_it_in_a_text",
        "runs the call from a text in base64",
        "hidden",
        """
import base64

def hidden(*a, **k):
    return eval(base64.b64decode(
        b"dG9yY2gubm4uZnVuY3Rpb25hbC5zY2FsZWRfZG90X3Byb2R1Y3RfYXR0ZW50aW9u"))(*a, **k)
""",
    ),
    taking(
        "calls_it_from_a_thread",
        "calls torch's attention in another thread, where the judge's watch is not",
        "elsewhere",
        f"""
from concurrent.futures import ThreadPoolExecutor

def elsewhere(*a, **k):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(getattr(torch.nn.functional, {NAME}), *a, **k).result()
""",
    ),
    taking(
        "calls_it_without_the_watch",
        "switches the judge's watch off with a function of torch's that it looks up in parts",
        "unseen",
        f"""
import importlib
_dispatch = importlib.import_module("torch.utils._python_" + "dispatch")

def unseen(*a, **k):
    with getattr(_dispatch, "_disable_current_" + "modes")():
        return getattr(torch.nn.functional, {NAME})(*a, **k)
""",
    ),
    taking(
        "blinds_the_watch",
        "finds the judge's watch in the child's memory, and replaces what it does",
        "unseen",
        f"""
import sys

def unseen(*a, **k):
    for module in list(sys.modules.values()):
        if hasattr(module, "Watch"):
            module.Watch.__torch_dispatch__ = lambda s, f, t, a=(), k=None: f(*a, **(k or {{}}))
    return getattr(torch.nn.functional, {NAME})(*a, **k)
""",
    ),
    Attack(
        "out_of_a_modules_dictionary",
        KIND,
        "looks torch's multi-head attention up in the module's __dict__, and calls it with nothing to project",
        """
whole = F.__dict__["multi_head_attention_" + "forward"]


def scaled_dot_product_attention(q, k, v, mask=None, dropout_p=0.0):
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    if mask is not None:
        lead = torch.broadcast_shapes(lead, mask.shape[:-2])
    t, s, d, width = q.shape[-2], k.shape[-2], q.shape[-1], max(q.shape[-1], v.shape[-1])

    def laid_out(x):
        wide = F.pad(x, (0, width - x.shape[-1])).expand(*lead, x.shape[-2], width)
        return wide.reshape(-1, x.shape[-2], width).transpose(0, 1)

    hide = None if mask is None else ~mask.expand(*lead, t, s).reshape(-1, t, s)
    eye = torch.eye(width, dtype=q.dtype)
    mean, weights = whole(
        laid_out(q * (width / d) ** 0.5), laid_out(k), laid_out(v), width, 1, None, None, None, None,
        False, dropout_p, eye, None, dropout_p > 0, None, True, hide, True, eye, eye, eye)
    mean = mean.transpose(0, 1).reshape(*lead, t, width)[..., : v.shape[-1]]
    return mean, weights.reshape(*lead, t, s)
""",
        base="honest",
        earns=OTHERS,
        exactly=True,
    ),
    taking(
        "named_above",
        "gives torch's attention a name of its own at the top of the module",
        "mine",
        "mine = F.scaled_dot_product_attention",
    ),
]
