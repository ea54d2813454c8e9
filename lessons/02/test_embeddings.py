"""Checks for lesson 02, embeddings. Which step turns which check green:

1. TokenEmbedding.forward   test_a_row_for_each_id, test_ids_of_any_shape,
                            test_an_id_without_a_row, test_rows_learn
2. sinusoidal_positions     test_one_clock_hand, test_hands_slow_down, test_odd_widths,
                            test_equal_steps_look_alike
3. Embeddings.forward       test_order_counts, test_token_plus_position,
                            test_too_long_is_refused, test_waves_for_positions,
                            test_both_tables_learn, test_dropout_comes_last,
                            test_nothing_left_to_chance
4. nearest_tokens           test_directions_by_hand, test_known_angles, test_all_point_away,
                            test_equal_ones_by_id, test_rows_without_direction,
                            test_neighbours_that_cannot_be
"""

import math

import torch
import torch.nn.functional as F

from grader.checks import check, grad

# 1. TokenEmbedding


@check("TokenEmbedding.forward", points=1)
def test_a_row_for_each_id(lesson, expect, draw):
    """An id brings back its row of the table, as often as it is asked for."""
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0]])
    table = lesson.TokenEmbedding(3, 4).load({"weight": weight})
    rows = table(torch.tensor([2, 0, 2]))
    right = torch.tensor([[9.0, 10.0, 11.0, 12.0], [1.0, 2.0, 3.0, 4.0], [9.0, 10.0, 11.0, 12.0]])
    expect(rows, right, of="the rows 2, 0 and 2", ask="What do square brackets do with a tensor?")


@check("TokenEmbedding.forward", points=1)
def test_ids_of_any_shape(lesson, expect, draw):
    """The result has the shape of the ids, with the channels behind it."""
    weight = draw.normal(11, 5)
    table = lesson.TokenEmbedding(11, 5).load({"weight": weight})
    for shape in [(2, 3), (1, 4), (4, 1), (5, 5), (7,), (2, 1, 3), ()]:
        ids, of = draw.ids(11, *shape), f"the rows for ids of the shape {shape}"
        question = "Is the shape of the ids still there, and do the channels come last?"
        expect(table(ids), F.embedding(ids, weight), of=of, ask=question)


@check("TokenEmbedding.forward", points=1)
def test_an_id_without_a_row(lesson, expect, draw):
    """A wrong id is noticed where it is looked up, not weeks later in a strange text."""
    weight = draw.normal(7, 3)
    table = lesson.TokenEmbedding(7, 3).load({"weight": weight})
    expect(table(torch.tensor([6, 0])), weight[[6, 0]], of="the last row and the first")
    for number in (7, 50):
        question = "Which ids does a table of 7 rows have?"
        with expect.raises(IndexError, f"for id {number} in a table of 7 rows", ask=question):
            table(torch.tensor([[2, number]]))


@check("TokenEmbedding.forward", points=1)
def test_rows_learn(lesson, expect, draw):
    """A row learns from every place where its id stands, and the others stay as they are."""
    weight, ids = draw.normal(6, 4), draw.ids(5, 2, 7)  # 14 places, 5 ids: some come again
    mine = lesson.grad(lesson.TokenEmbedding(6, 4).load({"weight": weight}), ids)
    right = grad(F.embedding, ids, weight)["arguments"][1]
    question = "Are the rows right? Then what (`detach`, `.data`, a copy) cuts the way back?"
    expect(mine["parameters"].get("weight"), right, of="the gradient of the table", ask=question)


# 2. sinusoidal_positions


def waves(block_size, n_embd):
    """The docstring's formula, one number at a time, in 64 bits."""
    table = torch.zeros(block_size, n_embd)
    for t in range(block_size):
        for channel in range(n_embd):
            angle = t / 10_000 ** (2 * (channel // 2) / n_embd)
            table[t, channel] = math.cos(angle) if channel % 2 else math.sin(angle)
    return table


@check("sinusoidal_positions", points=1)
def test_one_clock_hand(lesson, expect, draw):
    """With two channels there is one hand, and it turns by 1 from each position to the next."""
    right = [[math.sin(t), math.cos(t)] for t in range(4)]
    question = "What are the sine and the cosine of the angle 0, where position 0 stands?"
    table = lesson.sinusoidal_positions(4, 2)
    expect(table, torch.tensor(right), of="sinusoidal_positions(4, 2)", ask=question)
    right = [[math.sin(t), math.cos(t)] for t in range(300)]
    table = lesson.sinusoidal_positions(300, 2)
    expect(table, torch.tensor(right), of="sinusoidal_positions(300, 2)")


@check("sinusoidal_positions", points=2)
def test_hands_slow_down(lesson, expect, draw):
    """Each pair of channels turns slower than the one before it, by the paper's formula."""
    right = [math.sin(3), math.cos(3), math.sin(0.03), math.cos(0.03)]
    table = lesson.sinusoidal_positions(5, 4)
    question = "With 4 channels, how fast does the second hand turn: by 0.1, 0.01 or 0.0001?"
    expect(table, waves(5, 4), of="sinusoidal_positions(5, 4)", ask=question)
    expect(table[3], torch.tensor(right), of="row 3 of sinusoidal_positions(5, 4)", ask=question)
    for block_size, n_embd in [(11, 6), (7, 20), (12, 12), (1, 8)]:
        table = lesson.sinusoidal_positions(block_size, n_embd)
        of = f"sinusoidal_positions({block_size}, {n_embd})"
        question = "Which exponent belongs to channels 2 and 3, which to the last two?"
        expect(table, waves(block_size, n_embd), of=of, ask=question)


@check("sinusoidal_positions", points=1)
def test_odd_widths(lesson, expect, draw):
    """A table with an odd number of channels ends with a sine."""
    for block_size, n_embd in [(6, 1), (9, 3), (5, 7)]:
        table = lesson.sinusoidal_positions(block_size, n_embd)
        of = f"sinusoidal_positions({block_size}, {n_embd})"
        question = f"With C = {n_embd}, how many sines are there, and how many cosines?"
        expect(table, waves(block_size, n_embd), of=of, ask=question)


@check("sinusoidal_positions", points=1)
def test_equal_steps_look_alike(lesson, expect, draw):
    """Why waves: places three apart are equally similar wherever in the text they stand."""
    table = lesson.sinusoidal_positions(12, 10)
    expect(table, waves(12, 10), of="sinusoidal_positions(12, 10)")
    products = (table[3:] * table[:-3]).sum(dim=1)
    right = sum(math.cos(3 / 10_000 ** (2 * i / 10)) for i in range(5))
    question = "Do a sine and the cosine beside it belong to one angle?"
    of = "the product of each place with the one three before it"
    expect(products, torch.full((9,), right), of=of, ask=question)


# 3. Embeddings


@check("Embeddings.forward", points=1)
def test_order_counts(lesson, expect, draw):
    """Dog bites man, man bites dog: with positions these are two different texts."""
    tokens = torch.tensor([[10.0], [20.0], [30.0]])  # dog, bites, man
    places = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    layer = lesson.Embeddings(3, 4, 1).load({"wte.weight": tokens, "wpe.weight": places})
    right = torch.tensor([[[11.0], [22.0], [33.0]], [[31.0], [22.0], [13.0]]])
    question = "Which position has the first token of the second text?"
    expect(layer(torch.tensor([[0, 1, 2], [2, 1, 0]])), right, of="both texts", ask=question)


def both_tables(draw, vocab_size, block_size, n_embd):
    """Random numbers for the table of tokens and the table of positions."""
    return draw.weights(wte__weight=(vocab_size, n_embd), wpe__weight=(block_size, n_embd))


@check("Embeddings.forward", points=2)
def test_token_plus_position(lesson, expect, draw):
    """Every place of every text gets its token's vector plus its position's."""
    for block_size, batch, length in [(20, 2, 3), (9, 1, 4), (8, 5, 1), (6, 3, 3), (4, 9, 2)]:
        weights, ids = both_tables(draw, 11, block_size, 5), draw.ids(11, batch, length)
        layer = lesson.Embeddings(11, block_size, 5).load(weights)
        right = F.embedding(ids, weights["wte.weight"]) + weights["wpe.weight"][:length]
        question = "Does every text begin with row 0 of wpe, and are the two added?"
        of = f"the sum for ids of the shape {(batch, length)}"
        expect(layer(ids), right, of=of, ask=question)


@check("Embeddings.forward", points=1)
def test_too_long_is_refused(lesson, expect, draw):
    """Whoever hands in a text that is too long hears just that."""
    weights = both_tables(draw, 11, 6, 3)
    layer = lesson.Embeddings(11, 6, 3).load(weights)
    question = "Is the length checked before the positions are looked up?"
    with expect.raises(ValueError, "for 7 ids and 6 positions", ask=question):
        layer(draw.ids(11, 2, 7))
    with expect.raises(ValueError, "for 12 ids and 6 positions", ask=question):
        layer(draw.ids(11, 1, 12))
    ids = draw.ids(11, 2, 6)
    right = F.embedding(ids, weights["wte.weight"]) + weights["wpe.weight"]
    expect(layer(ids), right, of="the sum for 6 ids and 6 positions")


@check("Embeddings.forward", points=1)
def test_waves_for_positions(lesson, expect, draw):
    """The same layer takes positions from the formula instead."""
    tokens, ids = draw.normal(7, 6), draw.ids(7, 2, 5)
    layer = lesson.Embeddings(7, 8, 6, positions="sinusoidal").load({"wte.weight": tokens})
    right = F.embedding(ids, tokens) + waves(8, 6)[:5]
    question = "Do you look the positions up in self.wpe, whatever has been put there?"
    expect(layer(ids), right, of='the sum with positions="sinusoidal"', ask=question)


@check("Embeddings.forward", points=1)
def test_both_tables_learn(lesson, expect, draw):
    """Tokens and learned positions learn; what the formula gave stays as it is."""
    weights, ids = both_tables(draw, 6, 7, 4), draw.ids(5, 3, 5)
    mine = lesson.grad(lesson.Embeddings(6, 7, 4).load(weights), ids)["parameters"]
    tables = weights["wte.weight"], weights["wpe.weight"]
    right = grad(lambda ids, wte, wpe: F.embedding(ids, wte) + wpe[:5], ids, *tables)["arguments"]
    question = "Is anything cut off on the way back to this table?"
    expect(mine.get("wte.weight"), right[1], of="the gradient of wte.weight", ask=question)
    expect(mine.get("wpe.weight"), right[2], of="the gradient of wpe.weight", ask=question)
    layer = lesson.Embeddings(6, 7, 4, positions="sinusoidal")
    layer.load({"wte.weight": weights["wte.weight"]})
    mine = lesson.grad(layer, ids)["parameters"]
    expect(mine.get("wte.weight"), right[1], of="the gradient of wte.weight beside waves")
    expect(mine.get("wpe.weight"), None, of="the gradient of a table of waves")


def all_ones_and_twos(lesson):
    """A layer in which every sum is 3: tokens are 1, positions 2. Dropout is 0.75."""
    numbers = {"wte.weight": torch.full((7, 50), 1.0), "wpe.weight": torch.full((44, 50), 2.0)}
    return lesson.Embeddings(7, 44, 50, dropout=0.75).load(numbers)


@check("Embeddings.forward", points=1)
def test_dropout_comes_last(lesson, expect, draw):
    """Dropout hides parts of the sum for a moment, and makes the rest larger to make up for it."""
    result = all_ones_and_twos(lesson)(draw.ids(7, 5, 40))
    question = "Where dropout strikes, what is left: 0, the token's own 1, or the position's own 2?"
    numbers = [round(number) for number in result.unique().tolist()]
    of = "the list of numbers that come out where 1 and 2 are added and dropout is 0.75"
    expect(numbers, [0, 12], of=of, ask=question)
    dropped = float((result == 0).float().mean())
    # 10,000 draws: the share is 0.75 within 0.026 (six standard deviations, false alarm 2e-9)
    symptom = f"with dropout 0.75 a share of {dropped:.3f} of the numbers was dropped"
    expect.true(abs(dropped - 0.75) < 0.026, symptom)


@check("Embeddings.forward", points=1)
def test_nothing_left_to_chance(lesson, expect, draw):
    """When the model writes, dropout is off: the same text always gives the same vectors."""
    layer = all_ones_and_twos(lesson)
    layer.eval()
    numbers = [round(number) for number in layer(draw.ids(7, 5, 40)).unique().tolist()]
    question = "Who tells your dropout that the layer is no longer in training?"
    of = "the list of numbers that come out after eval() where 1 and 2 are added"
    expect(numbers, [3], of=of, ask=question)


# 4. nearest_tokens


@check("nearest_tokens", points=1)
def test_directions_by_hand(lesson, expect, draw):
    """Only the direction counts: a vector ten times as long is no nearer."""
    weight = torch.tensor([[2.0, 0.0], [0.0, 9.0], [4.0, 3.0], [30.0, 40.0], [-5.0, 0.0]])
    answer = lesson.nearest_tokens(weight, 0, 3)
    question = "What are the lengths of rows 2 and 3, and how far along row 0 do they point?"
    right = (torch.tensor([2, 3, 1]), torch.tensor([0.8, 0.6, 0.0]))
    expect(answer, right, of="(ids, similarities) for token 0", ask=question)


def rows_at_angles(draw, cosines, n_embd):
    """Rows whose cosines with one hidden direction are these; their lengths differ a lot."""
    ahead = F.normalize(draw.normal(n_embd).double(), dim=0)
    aside = draw.normal(len(cosines), n_embd).double()
    aside = F.normalize(aside - torch.outer(aside @ ahead, ahead), dim=1)
    directions = torch.outer(cosines, ahead) + (1 - cosines**2).sqrt().unsqueeze(1) * aside
    lengths = 10 ** draw.uniform(len(cosines), 1, low=-1.5, high=1.5)
    return (directions * lengths).float()


@check("nearest_tokens", points=2)
def test_known_angles(lesson, expect, draw):
    """The nearest are those at the smallest angle, whatever the lengths of the rows are."""
    for n_tokens, n_embd, k in [(6, 6, 3), (23, 5, 7), (9, 2, 8), (4, 7, 1)]:
        order = torch.from_numpy(draw.random.permutation(n_tokens))
        cosines = torch.linspace(1.0, -0.9, n_tokens, dtype=torch.float64)[order]
        weight = rows_at_angles(draw, cosines, n_embd)
        right, best = cosines.sort(descending=True)  # the token itself, at the angle 0, is first
        ids, similarities = lesson.nearest_tokens(weight, int(best[0]), k)
        sizes = f"in a table of the shape {(n_tokens, n_embd)}"
        question = "Has every row the length 1 before you multiply? Every row, not every column?"
        expect(similarities, right[1 : k + 1].float(), of=f"similarities {sizes}", ask=question)
        expect(ids, best[1 : k + 1], of=f"the ids of the nearest {sizes}")


@check("nearest_tokens", points=1)
def test_all_point_away(lesson, expect, draw):
    """A token is never its own neighbour, even if all the others point the other way."""
    cosines = torch.tensor([-0.7, 1.0, -0.2, -0.9], dtype=torch.float64)
    ids, similarities = lesson.nearest_tokens(rows_at_angles(draw, cosines, 3), 1, 3)
    question = "Which number can never come out on top, and stays below every cosine?"
    expect(ids, torch.tensor([2, 0, 3]), of="neighbours that all point away", ask=question)
    expect(similarities, torch.tensor([-0.2, -0.7, -0.9]), of="their similarities")


@check("nearest_tokens", points=1)
def test_equal_ones_by_id(lesson, expect, draw):
    """Among equals the lower id comes first, so that the answer is the same on every machine."""
    axes = draw.ids(3, 700)  # every row lies on one of three axes, and its length is 1, 2 or 4
    weight = torch.eye(3)[axes] * 2.0 ** draw.ids(3, 700, 1)
    for token, k in [(650, 5), (3, 9)]:
        same = [i for i in range(700) if axes[i] == axes[token] and i != token]
        ids, similarities = lesson.nearest_tokens(weight, token, k)
        question = "In which order does your function return equal ones?"
        expect(
            ids, torch.tensor(same[:k]), of=f"the first {k} of {len(same)} equal ones", ask=question
        )
        expect(similarities, torch.ones(k), of="the similarities of equal ones")
    rest = [i for i in range(9) if axes[i] != axes[4]]
    same = [i for i in range(9) if axes[i] == axes[4] and i != 4]
    ids, _ = lesson.nearest_tokens(weight[:9], 4, 8)
    expect(ids, torch.tensor(same + rest), of="all the others in a table of nine")


@check("nearest_tokens", points=1)
def test_rows_without_direction(lesson, expect, draw):
    """A row of zeros has no direction: it stands between what is near and what points away."""
    weight = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [-4.0, 0.0], [0.0, 0.0]])
    ids, similarities = lesson.nearest_tokens(weight, 1, 4)
    question = "What is 0 / 0, and where does a sort put it?"
    expect(similarities, torch.tensor([1.0, 0.0, 0.0, -1.0]), of="similarities", ask=question)
    expect(ids, torch.tensor([2, 0, 4, 3]), of="neighbours beside rows of zeros")
    ids, similarities = lesson.nearest_tokens(weight, 4, 3)
    expect(similarities, torch.zeros(3), of="the similarities of a row of zeros", ask=question)
    question = "Do you leave the token out by its id, or by its place after the sort?"
    expect(ids, torch.tensor([0, 1, 2]), of="the neighbours of a row of zeros", ask=question)


@check("nearest_tokens", points=1)
def test_neighbours_that_cannot_be(lesson, expect, draw):
    """A token that is not there, or more neighbours than tokens, is a mistake elsewhere."""
    weight = draw.normal(5, 3)
    for token, k in [(-1, 2), (5, 2), (8, 2), (0, 0), (0, -2), (0, 5), (0, 9)]:
        question = "Which tokens has a table of 5 rows, and how many others has each?"
        when = f"for token {token} and k = {k} in a table of 5 rows"
        with expect.raises(ValueError, when, ask=question):
            lesson.nearest_tokens(weight, token, k)
    for token in (0, 4):
        ids, _ = lesson.nearest_tokens(weight, token, 4)
        others = torch.tensor([i for i in range(5) if i != token])
        expect(ids.sort()[0], others, of=f"all four neighbours of token {token}, sorted by id")
