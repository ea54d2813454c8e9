"""The loop that the capstone is measured against: what people write who follow a tutorial.

    python -m grader.tests.plain_loop DATA --minutes 8       DATA: a run's data/ folder

Random windows, AdamW at 2e-3 with decay groups, clipping at 1, bf16 autocast, 16 windows a step,
warm-up and a cosine over the minutes: a nanoGPT-style loop, with fused attention, on the model of
the `laptop` preset. Prints bits per byte on the whole validation file, as `evaluate` measures them.
"""

import argparse
import math
import time

import numpy as np
import torch

from solutions.engine.acceleration import use_fast_parts
from solutions.engine.evaluation import score_text
from solutions.engine.prepared import load_prepared
from solutions.model import GPT, GPTConfig

PEAK, FLOOR, WARMUP = 2e-3, 2e-4, 100
BATCH, BLOCK = 16, 256


def main() -> None:
    """Train for the given minutes and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train, val, meta = load_prepared(options.data)
    torch.manual_seed(0)
    config = GPTConfig(meta["vocab_size"], BLOCK, n_layer=4, n_head=4, n_embd=256)
    model = use_fast_parts(GPT(config)).train()
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.95), fused=True)
    generator = np.random.default_rng(0)
    began, step = time.perf_counter(), 0
    while (progress := (time.perf_counter() - began) / (60 * options.minutes)) < 1:
        rate = FLOOR + (PEAK - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / WARMUP)
        starts = generator.integers(0, len(train) - BLOCK - 1, BATCH)
        rows = torch.from_numpy(train[starts[:, None] + np.arange(BLOCK + 1)].astype(np.int64))
        with torch.autocast("cpu", torch.bfloat16):
            _, loss = model(rows[:, :-1], rows[:, 1:])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
    seconds = time.perf_counter() - began
    tokens = step * BATCH * BLOCK
    scores = score_text(model, val, BLOCK, precision="bf16")
    measures = scores.measures(meta["val_bytes"], meta["val_chars"])
    print(
        f"plain loop: {step} steps, {tokens:,} tokens in {seconds:.0f} s "
        f"({tokens / seconds:,.0f} tokens/s), bits per byte {measures['bits_per_byte']:.4f}"
    )


if __name__ == "__main__":
    main()
