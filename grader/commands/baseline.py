"""Write the small GPT-2 that stands in for DistilGPT-2, with the answers that transformers gives.

For the maintainer: needs transformers, and writes `grader/answers/baseline/`.
"""

import argparse
from typing import Any

STALE = 1
SEED = 83  # of 120: greedy decoding neither repeats itself nor ever has to choose between equals
VOCAB_SIZE, BLOCK_SIZE, N_LAYER, N_HEAD, N_EMBD = 512, 64, 2, 4, 64
BATCH, TIME = 2, 13  # of the ids whose logits are recorded
PROMPT, GREEDY = 5, 20  # ids of a prompt, and how many there are with its continuation
SURE = 0.01  # how far the best guess must be ahead of the second, of the largest logit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file is not fresh"
    )


def run(options: argparse.Namespace) -> int:
    """Write the files, or compare them."""
    from safetensors.torch import save

    from grader.baseline import RECORDED, STAND_IN, read_config, read_weights
    from lessons.engine.files import write_atomically, write_json
    from lessons.engine.weight_files import WEIGHTS

    weights = make_weights(SEED)
    recorded = ask_transformers(weights, SEED)
    if options.check:
        from grader.baseline import stand_in

        wide = {name: weight.float() for name, weight in weights.items()}
        same = (
            read_config(STAND_IN) == {**read_config(STAND_IN), **sizes()}
            and _close(read_weights(STAND_IN), wide, 0.0)
            and _close(stand_in().recorded, recorded, 1e-5)
        )
        print(f"grader/answers/baseline: {'fresh' if same else 'not what is written now'}")
        return 0 if same else STALE
    write_json(STAND_IN / "config.json", settings())
    for name, tensors in ((WEIGHTS, weights), (RECORDED, recorded)):
        with write_atomically(STAND_IN / name, "wb") as file:
            file.write(save(tensors, metadata={"format": "pt"}))
    size = sum(file.stat().st_size for file in STAND_IN.iterdir())
    print(f"grader/answers/baseline: {size / 1024:.0f} KB")
    return 0


def sizes() -> dict[str, int]:
    """Return the sizes under GPTConfig's names."""
    return {
        **{"vocab_size": VOCAB_SIZE, "block_size": BLOCK_SIZE},
        **{"n_layer": N_LAYER, "n_head": N_HEAD, "n_embd": N_EMBD},
    }


def settings() -> dict[str, Any]:
    """Return config.json, as transformers reads it."""
    ours = sizes()
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_positions": ours.pop("block_size"),
        **ours,
        "n_inner": None,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0),
        **dict.fromkeys(("bos_token_id", "eos_token_id"), None),
    }


def make_weights(seed: int) -> dict[str, Any]:
    """Return weights in 16 bits as GPT-2's files hold them: (inputs, outputs), with the old masks.

    They are random, with traits of real ones: a few channels louder than the rest, positions
    made of slow and fast waves, norms and biases that are not 1 and 0.
    """
    import numpy as np
    import torch

    random = np.random.default_rng(seed)

    def normal(*shape: int, std: float) -> np.ndarray:
        return random.standard_normal(shape) * std

    def linear(name: str, inputs: int, outputs: int, gain: float) -> dict[str, np.ndarray]:
        matrix = normal(inputs, outputs, std=gain / inputs**0.5)
        return {f"{name}.weight": matrix, f"{name}.bias": normal(outputs, std=0.1)}

    def norm(name: str) -> dict[str, np.ndarray]:
        scale = random.uniform(0.6, 1.4, N_EMBD)
        return {f"{name}.weight": scale, f"{name}.bias": normal(N_EMBD, std=0.1)}

    loud = 1 + (random.random(N_EMBD) < 0.1)
    places = np.arange(BLOCK_SIZE)[:, None] / 10 ** random.uniform(0, 1.5, N_EMBD)
    waves = np.sin(places + random.uniform(0, 6, N_EMBD))
    state = {
        "wte.weight": normal(VOCAB_SIZE, N_EMBD, std=0.15) * loud,
        "wpe.weight": 0.2 * waves + normal(BLOCK_SIZE, N_EMBD, std=0.05),
    }
    for i in range(N_LAYER):
        state |= norm(f"h.{i}.ln_1")
        state[f"h.{i}.attn.bias"] = np.tri(BLOCK_SIZE)[None, None]
        state[f"h.{i}.attn.masked_bias"] = np.array(-1e4)
        state |= linear(f"h.{i}.attn.c_attn", N_EMBD, 3 * N_EMBD, gain=2.0)
        state |= linear(f"h.{i}.attn.c_proj", N_EMBD, N_EMBD, gain=3.0)
        state |= norm(f"h.{i}.ln_2")
        state |= linear(f"h.{i}.mlp.c_fc", N_EMBD, 4 * N_EMBD, gain=1.5)
        state |= linear(f"h.{i}.mlp.c_proj", 4 * N_EMBD, N_EMBD, gain=3.0)
    state |= norm("ln_f")
    # signs, lest every token is its own likeliest successor: the head is the token table
    state["ln_f.weight"] *= random.choice([-1, 1], N_EMBD)
    return {f"transformer.{n}": torch.from_numpy(w).to(torch.float16) for n, w in state.items()}


def ask_transformers(weights: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return ids, transformers' logits for them, and how it continues a prompt greedily."""
    import torch

    from lessons.engine.errors import CourseError

    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        raise CourseError("this needs transformers: pip install -r requirements.txt") from None
    model = GPT2LMHeadModel(GPT2Config(**settings())).eval()
    own = {
        n: w.float() for n, w in weights.items() if not n.endswith((".attn.bias", "masked_bias"))
    }
    model.load_state_dict({**own, "lm_head.weight": own["transformer.wte.weight"]})
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCAB_SIZE, (BATCH, TIME), generator=generator)
    text = torch.randint(VOCAB_SIZE, (1, PROMPT), generator=generator)
    with torch.no_grad():
        logits = model(ids).logits
        while text.shape[1] < GREEDY:
            last = model(text).logits[0, -1]
            best, second = last.topk(2).values.tolist()
            if best - second < SURE * float(last.abs().max()):
                raise CourseError(f"seed {seed}: the best two guesses are nearly equal")
            text = torch.cat([text, last.argmax().view(1, 1)], dim=1)
    return {"ids": ids, "logits": logits, "greedy": text[0]}


def _close(old: dict[str, Any], new: dict[str, Any], tolerance: float) -> bool:
    """Say whether both hold the same tensors, up to a share of the largest number."""
    return old.keys() == new.keys() and all(
        old[name].shape == tensor.shape
        and float((old[name] - tensor).abs().max()) <= tolerance * float(tensor.abs().max())
        for name, tensor in new.items()
    )
