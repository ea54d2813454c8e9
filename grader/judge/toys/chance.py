"""Toys that make chances."""

import torch


def generator(seed: int) -> torch.Generator:
    """Return one generator that goes on from call to call; `lesson.generator` begins anew."""
    return torch.Generator().manual_seed(seed)


TOYS = {"generator": generator}
