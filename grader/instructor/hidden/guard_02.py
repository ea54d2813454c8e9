"""Hidden checks for lesson 02, embeddings: other sizes, other dtypes, calls that come again."""

import math

import torch
import torch.nn.functional as F

from grader.checks import grad
from grader.instructor.guards import guard


def waves(block_size, n_embd):
    """The docstring's formula in 64 bits."""
    channels = torch.arange(n_embd, dtype=torch.float64)
    speeds = 10_000 ** (-2 * (channels // 2) / n_embd)
    angles = torch.arange(block_size, dtype=torch.float64).unsqueeze(1) * speeds
    return torch.where(channels % 2 == 0, angles.sin(), angles.cos()).float()


@guard("test_ids_of_any_shape")
def guard_rows_of_any_table(lesson, expect, draw):
    """Two tables take turns, with ids of shapes that stand in no check."""
    made = []
    for rows, width in [(draw.integer(30, 90), draw.integer(6, 20)), (1, 3), (40, 1)]:
        weight = draw.normal(rows, width)
        made.append((lesson.TokenEmbedding(rows, width).load({"weight": weight}), weight))
    for shape in [(3, 17), (2, 3, 2, 2), (31,), (1, 1), (6, 0), (3, 17)]:
        for table, weight in made:
            ids = draw.ids(len(weight), *shape)
            of = f"the rows for ids of the shape {shape}"
            expect(table(ids), F.embedding(ids, weight), of=of)
    for table, weight in made:
        with expect.raises(IndexError, f"for id {len(weight)} in a table of {len(weight)} rows"):
            table(torch.tensor([0, len(weight)]))


@guard("test_rows_learn")
def guard_rows_of_any_table_learn(lesson, expect, draw):
    """The gradient of a larger table, for ids of another shape, twice."""
    rows, width = draw.integer(9, 30), draw.integer(5, 9)
    weight = draw.normal(rows, width)
    for shape in [(40,), (2, 3, 5)]:
        ids = draw.ids(rows // 2, *shape)
        mine = lesson.grad(lesson.TokenEmbedding(rows, width).load({"weight": weight}), ids)
        right = grad(F.embedding, ids, weight)
        expect(mine["result"], right["result"].detach(), of="the rows")
        gradient = right["arguments"][1]
        expect(mine["parameters"].get("weight"), gradient, of="the gradient of the table")


@guard("test_hands_slow_down")
def guard_waves_of_any_size(lesson, expect, draw):
    """More places and more channels, one table after the other."""
    for block_size, n_embd in [
        (draw.integer(15, 60), 2 * draw.integer(11, 40)),
        (draw.integer(15, 60), 2 * draw.integer(5, 15) + 1),
        (40, 4),
        (2, 128),
    ]:
        # 60 places further the angles of 32 bits are off by 1e-5 at most
        of = f"sinusoidal_positions({block_size}, {n_embd})"
        right = waves(block_size, n_embd)
        expect(lesson.sinusoidal_positions(block_size, n_embd), right, of=of, tolerance=1e-4)


@guard("test_token_plus_position")
def guard_sums_of_any_size(lesson, expect, draw):
    """Layers of other sizes take turns; one text alone gives what it gives among others."""
    made = []
    for vocab_size, block_size, n_embd in [(60, 40, 9), (draw.integer(12, 30), 21, 16)]:
        shapes = {"wte__weight": (vocab_size, n_embd), "wpe__weight": (block_size, n_embd)}
        weights = draw.weights(**shapes)
        layer = lesson.Embeddings(vocab_size, block_size, n_embd).load(weights)
        made.append((layer, weights, vocab_size))
    for batch, length in [(4, 21), (1, 1), (7, draw.integer(9, 18)), (3, 2)]:
        for layer, weights, vocab_size in made:
            ids = draw.ids(vocab_size, batch, length)
            right = F.embedding(ids, weights["wte.weight"]) + weights["wpe.weight"][:length]
            of = f"the sum for ids of the shape {(batch, length)}"
            expect(layer(ids), right, of=of)
            expect(layer(ids[:1]), right[:1], of=f"{of}, the first text alone")
    for layer, weights, vocab_size in made:
        too_long = len(weights["wpe.weight"]) + 1
        with expect.raises(ValueError, f"for {too_long} ids and {too_long - 1} positions"):
            layer(draw.ids(vocab_size, 1, too_long))


@guard("test_waves_for_positions")
def guard_waves_in_other_layers(lesson, expect, draw):
    """Positions by the formula in layers of other sizes, also of odd widths."""
    for n_embd in (2 * draw.integer(5, 9), 2 * draw.integer(5, 9) + 1):
        tokens, ids = draw.normal(30, n_embd), draw.ids(30, 3, 17)
        layer = lesson.Embeddings(30, 25, n_embd, positions="sinusoidal")
        layer.load({"wte.weight": tokens})
        right = F.embedding(ids, tokens) + waves(25, n_embd)[:17]
        expect(layer(ids), right, of=f"the sum of {n_embd} channels", tolerance=5e-5)


@guard("test_dropout_comes_last")
def guard_dropout_at_other_shares(lesson, expect, draw):
    """Any share is dropped, anew at each call, and none in evaluation."""
    share = draw.integer(2, 6) / 10
    weights = {"wte.weight": torch.full((9, 60), 2.0), "wpe.weight": torch.full((50, 60), 3.0)}
    layer, ids = lesson.Embeddings(9, 50, 60, dropout=share).load(weights), draw.ids(9, 4, 50)
    first, second = layer(ids), layer(ids)
    expect.true(not torch.equal(first, second), "dropout takes the same numbers at each call")
    for result in (first, second):
        dropped = float((result == 0).float().mean())
        # 12,000 draws: within 0.028 is more than six standard deviations, false alarm 2e-9
        symptom = f"with dropout {share} a share of {dropped:.3f} of the numbers was dropped"
        expect.true(abs(dropped - share) < 0.028, symptom)
        kept = result[result != 0]
        expect(kept, torch.full_like(kept, 5 / (1 - share)), of="a number that was kept")
    layer.eval()
    expect(layer(ids), torch.full((4, 50, 60), 5.0), of="the sum in evaluation")


@guard("test_both_tables_learn")
def guard_larger_tables_learn(lesson, expect, draw):
    """Gradients of tables of other sizes, also beside dropout that is switched off."""
    n_embd = draw.integer(6, 12)
    weights = draw.weights(wte__weight=(20, n_embd), wpe__weight=(18, n_embd))
    layer = lesson.Embeddings(20, 18, n_embd, dropout=0.4).load(weights)
    layer.eval()
    length = draw.integer(9, 18)
    ids = draw.ids(20, 4, length)
    mine = lesson.grad(layer, ids)["parameters"]
    tables = weights["wte.weight"], weights["wpe.weight"]
    right = grad(lambda ids, wte, wpe: F.embedding(ids, wte) + wpe[:length], ids, *tables)
    for name, gradient in zip(("wte.weight", "wpe.weight"), right["arguments"][1:], strict=True):
        expect(mine.get(name), gradient, of=f"the gradient of {name}")


def rows_at_angles(draw, cosines, n_embd):
    """Rows whose cosines with one hidden direction are these; their lengths differ a lot."""
    ahead = F.normalize(draw.normal(n_embd).double(), dim=0)
    aside = draw.normal(len(cosines), n_embd).double()
    aside = F.normalize(aside - torch.outer(aside @ ahead, ahead), dim=1)
    directions = torch.outer(cosines, ahead) + (1 - cosines**2).sqrt().unsqueeze(1) * aside
    return directions * 10 ** draw.uniform(len(cosines), 1, low=-1.5, high=1.5).double()


@guard("test_known_angles")
def guard_angles_in_other_tables(lesson, expect, draw):
    """Larger tables, any number of neighbours, 64 bits as well as 32, and the same again."""
    sizes = [(draw.integer(30, 80), draw.integer(8, 30)), (2, 3), (12, 12)]
    tables = []
    for n_tokens, n_embd in sizes:
        order = torch.from_numpy(draw.random.permutation(n_tokens))
        cosines = torch.linspace(1.0, -0.8, n_tokens, dtype=torch.float64)[order]
        tables.append((rows_at_angles(draw, cosines, n_embd), cosines))
    for weight, cosines in [*tables, tables[0]]:
        right, best = cosines.sort(descending=True)
        for k in {1, len(cosines) // 2, len(cosines) - 1}:
            for table in (weight.float(), weight):
                ids, similarities = lesson.nearest_tokens(table, int(best[0]), k)
                of = f"{k} nearest in a {table.dtype} table of {len(table)} rows"
                expect(similarities, right[1 : k + 1].to(table.dtype), of=f"similarities of {of}")
                expect(ids, best[1 : k + 1], of=f"the ids of the {of}")


@guard("test_equal_ones_by_id")
def guard_equal_ones_anywhere(lesson, expect, draw):
    """Equal ones come in the order of their ids in every table, wherever they lie."""
    n_tokens = draw.integer(900, 1500)
    axes = draw.ids(5, n_tokens)
    weight = torch.eye(5)[axes] * 2.0 ** draw.ids(5, n_tokens, 1)
    for k in (n_tokens - 1, draw.integer(20, 100)):
        token = draw.integer(0, n_tokens - 1)
        same = [i for i in range(n_tokens) if axes[i] == axes[token] and i != token]
        rest = [i for i in range(n_tokens) if axes[i] != axes[token]]
        ids, similarities = lesson.nearest_tokens(weight, token, k)
        expect(ids, torch.tensor([*same, *rest][:k]), of=f"the ids of {k} neighbours")
        right = [1.0] * len(same) + [0.0] * len(rest)
        expect(similarities, torch.tensor(right[:k]), of=f"the similarities of {k} neighbours")


@guard("test_rows_without_direction")
def guard_rows_of_zeros_anywhere(lesson, expect, draw):
    """Rows of zeros among others, in either dtype: similarity 0, and never nan."""
    n_tokens, token = draw.integer(15, 30), draw.integer(0, 9)
    signs = draw.ids(3, n_tokens) - 1  # along the token's row, of no length, or against it
    signs[token], signs[(token + 3) % n_tokens] = 1, 0
    lengths = 2.0 ** draw.ids(4, n_tokens)
    similar = signs.double()
    similar[token] = -math.inf
    right, best = similar.sort(descending=True, stable=True)
    for dtype in (torch.float32, torch.float64):
        weight = torch.zeros(n_tokens, 4, dtype=dtype)
        weight[:, 2] = (signs * lengths).to(dtype)
        ids, similarities = lesson.nearest_tokens(weight, token, n_tokens - 1)
        expect(ids, best[:-1], of="the ids of neighbours beside rows of zeros")
        expect(similarities, right[:-1].to(dtype), of="similarities beside rows of zeros")
