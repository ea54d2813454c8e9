"""Submissions that are fitted to what the visible checks look at, and wrong everywhere else.

Each is a lesson's solution with something behind it, which puts a function in the place of one of
its own: `put(wrong, name)` for the module's, `put(wrong, name, owner)` for a method.
"""

from dataclasses import dataclass

FIT = """

import functools as _functools
import torch as _torch


def put(wrong, name, owner=None):
    right = getattr(owner, name) if owner else globals()[name]
    calls = []

    @_functools.wraps(right)
    def function(*args, **kwargs):
        calls.append(args)
        return wrong(right, len(calls), *args, **kwargs)

    setattr(owner, name, function) if owner else globals().update({name: function})
"""


@dataclass(frozen=True)
class Fitted:
    """One such submission."""

    lesson: str
    name: str
    guard: str  # that sees through it
    source: str

    @property
    def behind(self) -> str:
        """What stands behind the solution."""
        return FIT + self.source


# The first of each lesson is tried by `make test`, the others by `make verify`.
FITTED = [
    Fitted(
        *("00", "known sizes", "guard_loss_of_any_size"),
        """
def wrong(right, calls, logits, targets):
    return right(logits, targets) * (1.0 if logits.shape[-1] <= 50 else 0.9)
put(wrong, "cross_entropy")
""",
    ),
    Fitted(
        *("00", "32 bits only", "guard_softmax_keeps_the_dtype"),
        """
put(lambda right, calls, logits, dim=-1: right(logits.float(), dim), "softmax")
""",
    ),
    Fitted(
        *("00", "one alphabet", "guard_draws_from_other_tables"),
        """
def wrong(right, calls, logits, start, length, generator=None):
    if length > 100 and len(logits) != 4:
        return [start] + [int(logits[start].argmax())] * (length - 1)
    return right(logits, start, length, generator)
put(wrong, "babble")
""",
    ),
    Fitted(
        *("01", "known letters", "guard_training_on_other_texts"),
        """
def wrong(right, calls, text, vocab_size):
    merges = right(text, vocab_size)
    new = isinstance(text, str) and set(text) & set("mxyzvт")
    return merges[:-1] if new else merges
put(wrong, "train_bpe")
""",
    ),
    Fitted(
        *("01", "short pieces", "guard_pieces_of_other_letters"),
        """
def wrong(right, calls, self, piece):
    return to_byte_ids(piece) if len(piece) > 32 else right(self, piece)
put(wrong, "encode_piece", BPETokenizer)
""",
    ),
    Fitted(
        *("02", "known widths", "guard_waves_of_any_size"),
        """
def wrong(right, calls, block_size, n_embd):
    table = right(block_size, n_embd)
    return table if n_embd <= 20 else table.roll(1, 1)
put(wrong, "sinusoidal_positions")
""",
    ),
    Fitted(
        *("02", "32 bits only", "guard_angles_in_other_tables"),
        """
put(lambda right, calls, weight, token, k: right(weight.float(), token, k), "nearest_tokens")
""",
    ),
    Fitted(
        *("03", "the first calls", "guard_attention_has_no_memory"),
        """
kept = []
def wrong(right, calls, q, k, v, mask=None, dropout_p=0.0):
    if calls > 20:
        return kept[0]
    kept.append(right(q, k, v, mask, dropout_p))
    return kept[-1]
put(wrong, "scaled_dot_product_attention")
""",
    ),
    Fitted(
        *("03", "known sizes", "guard_attention_of_any_size"),
        """
def wrong(right, calls, q, k, v, mask=None, dropout_p=0.0):
    return right(q, k, v, None if q.dim() == 3 and q.shape[-2] > 7 else mask, dropout_p)
put(wrong, "scaled_dot_product_attention")
""",
    ),
    Fitted(
        *("03", "short texts", "guard_layers_of_any_size"),
        """
def wrong(right, calls, self, x, cache=None):
    return right(self, x.roll(1, 0) if 8 < x.shape[1] != 40 else x, cache)
put(wrong, "forward", CausalSelfAttention)
""",
    ),
    Fitted(
        *("04", "known widths", "guard_blocks_of_any_size"),
        """
def wrong(right, calls, self, x, cache=None):
    return right(self, x, cache) if x.shape[-1] <= 16 else x + self.attn(self.ln_1(x), cache)
put(wrong, "forward", Block)
""",
    ),
    Fitted(
        *("04", "64 bits and 32", "guard_gelu_in_every_dtype"),
        """
put(lambda right, calls, x: right(x if x.dtype == _torch.float64 else x.float()), "gelu")
""",
    ),
    Fitted(
        *("05", "known depths", "guard_logits_of_any_model"),
        """
def wrong(right, calls, self, ids, targets=None, cache=None, last_only=False):
    return right(self, ids.flip(0) if self.config.n_layer > 3 else ids, targets, cache, last_only)
put(wrong, "forward", GPT)
""",
    ),
    Fitted(
        *("05", "the shape tells", "guard_other_files_are_converted"),
        """
def wrong(right, calls, state):
    found = right(state)
    for name, weight in found.items():
        if name.endswith("c_fc.weight") and weight.shape[0] == weight.shape[1]:
            found[name] = weight.T.contiguous()
    return found
put(wrong, "convert_gpt2_weights")
""",
    ),
    Fitted(
        *("06", "known batches", "guard_batches_of_any_size"),
        """
def wrong(right, calls, tokens, batch_size, block_size, seed):
    inputs, targets = right(tokens, batch_size, block_size, seed)
    return inputs, targets if block_size <= 10 else inputs + 1
put(wrong, "get_batch")
""",
    ),
    Fitted(
        *("06", "known seeds", "guard_any_documents_are_dealt_out"),
        """
def wrong(right, calls, documents, valid_fraction=0.1, seed=0):
    return right(documents, valid_fraction, abs(seed))
put(wrong, "split_documents")
""",
    ),
    Fitted(
        *("07", "few micro-batches", "guard_any_batches_are_one_big"),
        """
def wrong(right, calls, model, optimizer, micro_batches, max_norm=1.0):
    return right(model, optimizer, list(micro_batches)[:3], max_norm)
put(wrong, "train_step")
""",
    ),
    Fitted(
        *("07", "known limits", "guard_gradients_of_any_length"),
        """
def wrong(right, calls, model, optimizer, micro_batches, max_norm=1.0):
    known = max_norm in (1.0, 2.0) or max_norm > 100
    return right(model, optimizer, micro_batches, max_norm if known else 1e6)
put(wrong, "train_step")
""",
    ),
    Fitted(
        *("08", "known rows", "guard_nuclei_of_any_rows"),
        """
def wrong(right, calls, logits, p):
    known = logits.shape[-1] <= 9 or logits.shape[-1] in (60, 300)
    return right(logits, p) if known else logits
put(wrong, "top_p")
""",
    ),
    Fitted(
        *("08", "short pasts", "guard_penalties_of_any_texts"),
        """
def wrong(right, calls, logits, ids, penalty):
    return right(logits, ids[:, :9] if ids.dim() == 2 else ids, penalty)
put(wrong, "repetition_penalty")
""",
    ),
    Fitted(
        *("08", "not all at once", "guard_draws_with_all_settings"),
        """
def wrong(right, calls, logits, ids=None, **settings):
    if "repetition_penalty" in settings and "top_k" in settings:
        settings.pop("top_p", None)
    return right(logits, ids, **settings)
put(wrong, "sample")
""",
    ),
    Fitted(
        *("09", "short texts", "guard_longer_texts_grow_by_the_best"),
        """
def wrong(right, calls, model, ids, max_new_tokens, *args, **kwargs):
    text = right(model, ids, min(max_new_tokens, 14), *args, **kwargs)
    rest = max_new_tokens - 14
    return _torch.cat([text, text[:, -1:].repeat(1, rest)], dim=1) if rest > 0 else text
put(wrong, "generate")
""",
    ),
    Fitted(
        *("09", "known heads", "guard_caches_do_not_mix"),
        """
put(lambda right, calls, self, k, v: right(self, k, v if k.shape[0] < 4 else k), "append", LayerCache)
""",
    ),
    Fitted(
        *("10", "known plans", "guard_scores_of_any_text"),
        """
def wrong(right, calls, model, ids, block_size, stride):
    return right(model, ids, block_size, block_size if 9 <= block_size <= 30 else stride)
put(wrong, "score")
""",
    ),
    Fitted(
        *("10", "16 bits of one kind", "guard_scores_in_any_precision"),
        """
def wrong(right, calls, model, ids, block_size, stride):
    total, count = right(model, ids, block_size, stride)
    half = any(p.dtype == _torch.float16 for p in model.parameters())
    return (float(_torch.tensor(total).half()) if half else total), count
put(wrong, "score")
""",
    ),
    Fitted(
        *("11", "known heads", "guard_layers_of_any_size"),
        """
def wrong(right, calls, self, x, start=0, cache=None):
    return right(self, x.flip(0) if x.shape[1] > 8 else x, start, cache)
put(wrong, "forward", GroupedQueryAttention)
""",
    ),
    Fitted(
        *("11", "layers of one figure", "guard_other_files_are_converted"),
        """
def wrong(right, calls, state, n_head, n_kv_head):
    found = right(state, n_head, n_kv_head)
    table = found.get("model.embed_tokens.weight")
    if any(".layers.1." in name for name in found) and len(table) > 23:
        found["lm_head.weight"] = table
    return found
put(wrong, "convert_llama_weights")
""",
    ),
    Fitted(
        *("12", "known ranks", "guard_merged_layers"),
        """
def wrong(right, calls, self):
    right(self)
    if len(self.lora_A) > 5:
        self.base.weight.data.mul_(1.01)
put(wrong, "merge", LoRALinear)
""",
    ),
    Fitted(
        *("12", "known sizes of answers", "guard_rows_of_any_length"),
        """
def wrong(right, calls, ids, prompt_lengths, lengths):
    inputs, targets = right(ids, prompt_lengths, lengths)
    return inputs, (targets if ids.shape[1] <= 12 else ids[:, 1:])
put(wrong, "mask_prompt")
""",
    ),
    Fitted(
        *("13", "known widths", "guard_layers_of_other_sizes"),
        """
def wrong(right, calls, self, x):
    y = right(self, x)
    known = self.weight.shape[0] in (2, 3, 4, 5, 6, 8, 24, 32)
    return y if known or self.activations else y.bfloat16().to(y.dtype)
put(wrong, "forward", QuantizedLinear)
""",
    ),
    Fitted(
        *("13", "known vocabularies", "guard_losses_of_other_sizes"),
        """
def wrong(right, calls, student, teacher, targets, temperature=2.0, mix=0.5):
    loss = right(student, teacher, targets, temperature, mix)
    return loss if student.shape[-1] < 8 else loss / 2
put(wrong, "distillation_loss")
""",
    ),
    Fitted(
        *("14", "known vocabularies", "guard_memory_of_other_models"),
        """
def wrong(right, calls, train_tokens, **shape):
    found = right(train_tokens, **shape)
    known = shape["vocab_size"] in (50, 7, 2, 50257, 91)
    return found if known else Budget(found.tokens_per_step, found.steps, found.memory_bytes + 1)
put(wrong, "batch_budget")
""",
    ),
    Fitted(
        *("14", "a recipe for the judge", "guard_recipe_is_always_the_same"),
        """
put(lambda right, calls: right() | ({"weight_decay": 0.11} if calls > 4 else {}), "recipe")
""",
    ),
]
