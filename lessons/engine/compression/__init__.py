"""Making a model small, and knowing what it cost: `python -m solutions.compression`.

The ideas are lesson 13's (`quantize_rows`, `QuantizedLinear`, `prune_by_magnitude`, `distillation_loss`).
Here they meet a whole model and its files:

quantising   int8 in the place of every linear layer of the blocks; the error of each beside its bound
fast         the same products by torch's int8 kernels, where there are any
pruning      masks for a whole model, what is left, and training that keeps the zeros
distilling   a student of half the layers, and the training that all the others are compared with
saving       16-bit and int8 folders that load again
material     which model, which text
measuring    bytes, bits per byte, tokens per second
table        full, int8, pruned, distilled and from scratch, side by side
options, wishes, actions, command    the command line
"""
