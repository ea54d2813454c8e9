"""The benchmark: that it runs, reckons rightly, and says what it could not measure. No time is
asserted anywhere: a busy machine would fail."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from grader.tests.conftest import ROOT
from solutions.engine.benchmark import command, decoding, gpu, judging, machine, quality
from solutions.engine.benchmark.command import KINDS, chosen, main
from solutions.engine.benchmark.contender import Contender
from solutions.engine.benchmark.growth import Point, as_json, draw_growth, from_json, growth_table
from solutions.engine.benchmark.measure import (
    Spread,
    interleave,
    ratios,
    spread,
)
from solutions.engine.benchmark.settings import BenchmarkOptions
from solutions.engine.benchmark.table import (
    NOTHING_YET,
    Row,
    fill_page,
    keep,
    markdown,
    number,
    print_table,
    read_rows,
)
from solutions.engine.benchmark.training_step import TINY, matrix_weights, step_flops
from solutions.engine.errors import CourseError

ROW = Row(
    name="decode",
    work="writing",
    against="a tool",
    unit="tokens/s",
    ours=Spread(41.25, 40.0, 42.0, 5),
    theirs=Spread(20.0, 19.0, 21.0, 5),
    figure=Spread(2.0625, 2.0, 2.1, 5),
    target=1.4,
    limit="bandwidth",
    note="the same tokens",
)
MACHINE = ("a machine", {"processor": "one, 2 cores", "versions": "torch 9"})


# Reckoning.


def test_the_median_and_the_middle_half():
    assert spread([4.0, 1.0, 2.0, 3.0, 100.0]) == Spread(3.0, 2.0, 4.0, 5)
    assert spread([2.0]) == Spread(2.0, 2.0, 2.0, 1)


def test_a_ratio_is_taken_within_its_round():
    slow_minute = [1.0, 10.0, 1.0]  # both sides are ten times as slow in the second round
    assert ratios([2 * s for s in slow_minute], slow_minute) == Spread(2.0, 2.0, 2.0, 3)


def test_sides_take_turns_the_other_way_round_and_warm_rounds_do_not_count():
    calls = []

    def side(name):
        def work():
            calls.append(name)
            return float(len(calls))

        return work

    seconds = interleave({"a": side("a"), "b": side("b")}, rounds=2, warmup=1)
    assert "".join(calls) == "abbaab"
    assert seconds == {"a": [4.0, 5.0], "b": [3.0, 6.0]}


def test_a_peak_of_memory_is_seen_and_forgotten():
    lines = (
        "from solutions.engine.benchmark.measure import forget_peak, peak",
        "before = forget_peak()",
        "held = bytearray(60_000_000)",
        'held[::4096] = b"x" * len(held[::4096])',
        "most = peak()",
        "del held",
        "print(most - before, most - forget_peak())",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rise, fall = map(float, done.stdout.split())
    assert 50 < rise < 80
    assert fall > 50


def test_operations_of_a_step():
    shape = {"vocab_size": 100, "block_size": 10, "n_layer": 2, "n_head": 1, "n_embd": 8}
    assert matrix_weights(shape) == (2 * (4 + 8) * 64, 800)
    assert step_flops(shape, 3) == 3 * (6 * (1536 + 800) + 12 * 2 * 10 * 8)


def test_weights_that_a_token_reads_are_those_of_the_model():
    from solutions.model import GPT, GPTConfig

    model = GPT(GPTConfig(**TINY))
    apart = model.transformer.wpe.weight.numel() + 2 * TINY["n_embd"]  # places, and the last norm
    assert decoding.weights_read(TINY) == model.num_parameters() - apart


# The table.


def test_what_is_reached():
    assert ROW.reached is True
    assert replace(ROW, target=2.1).reached is False
    assert replace(ROW, target=2.1, at_least=False).reached is True
    assert replace(ROW, target=None).reached is None
    assert replace(ROW, figure=None).reached is None


def test_cells_as_people_read_them():
    assert ROW.cells() == (
        *("writing", "41.2 tokens/s", "a tool: 20.0 tokens/s", "2.06x (2.00x to 2.10x)"),
        *("at least 1.40x", "yes", "bandwidth. the same tokens"),
    )
    assert number(12345.6, "tokens/s") == "12,346 tokens/s"
    assert number(0.034, "s") == "0.0340 s"


def test_a_missing_package_is_a_sentence_in_every_form(tmp_path, capsys, monkeypatch):
    assert machine.not_installed("torch") is None
    sentence = machine.not_installed("no-such-package")
    assert sentence == "not installed: pip install no-such-package"
    row = Row("decode-x", "writing", "a tool", target=0.7, missing=sentence)
    monkeypatch.setenv("COLUMNS", "200")
    print_table([row])
    for text in (capsys.readouterr().out, markdown([row], {})):
        assert sentence in text
        assert "not run" in text
    everything = keep([row], MACHINE, tmp_path / "rows.json")
    assert everything == [row] and row.reached is None


def test_json_keeps_everything_and_rows_measured_before(tmp_path):
    file = tmp_path / "rows.json"
    row = replace(ROW, measured={"day": "2026-01-01", "machine": "a machine", "load": 0.5})
    keep([row], MACHINE, file)
    command.add_extra(file, "growth", [])
    gone = Row("decode", "writing", "a tool", missing="not installed: pip install tool")
    other = replace(row, name="loader")
    assert keep([gone, other], MACHINE, file) == [
        row,
        other,
    ]  # a number outlives its tool's absence
    assert read_rows(file) == ([row, other], {MACHINE[0]: MACHINE[1]})
    kept = json.loads(file.read_text())
    assert kept["growth"] == []
    assert kept["rows"][0]["figure"]["median"] == 2.0625
    assert kept["rows"][0]["reached"] is True


def test_a_damaged_record_is_one_sentence(tmp_path):
    file = tmp_path / "rows.json"
    file.write_text('{"rows": [1], "machines": {}}')
    with pytest.raises(CourseError, match="no record of a benchmark"):
        read_rows(file)


def test_markdown_says_what_it_was_measured_on():
    row = replace(ROW, measured={"day": "2026-01-01", "machine": "a machine", "load": 7.25})
    text = markdown([row], {MACHINE[0]: MACHINE[1]})
    lines = text.splitlines()
    assert len({line.count("|") for line in lines[:3]}) == 1
    assert "2.06x (2.00x to 2.10x)" in lines[2]
    assert "Measured on 2026-01-01" in lines[-1]
    assert "a load of 7.2 at most" in lines[-1]
    assert "torch 9" in lines[-1]
    assert markdown([], {}) == NOTHING_YET


def test_the_region_of_a_page_is_filled_and_filled_again(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Top\n\n<!-- measured: benchmarks -->\n<!-- end -->\n\nbelow\n")
    for text in ("| a |", "| b |"):
        fill_page(page, text)
    assert page.read_text() == (
        "# Top\n\n<!-- measured: benchmarks -->\n\n| b |\n\n<!-- end -->\n\nbelow\n"
    )
    with pytest.raises(CourseError, match="has no lines <!-- measured: growth -->"):
        fill_page(page, "x", "growth")


def test_the_sites_page_is_what_its_record_makes(tmp_path):
    page, site = tmp_path / "benchmarks.md", ROOT / "site"
    page.write_text((site / "benchmarks.md").read_text(encoding="utf-8"), encoding="utf-8")
    command.write_page(site / "benchmarks.json", page)
    assert page.read_text(encoding="utf-8") == (site / "benchmarks.md").read_text(
        encoding="utf-8"
    ), "`python -m solutions.benchmark page` writes it anew"


def test_growth_survives_its_file_and_is_drawn(tmp_path):
    points = [
        Point(varied, value, Spread(100.0 / n, 90.0 / n, 110.0 / n, 3), 50.0 * n, 1e6 * n)
        for varied in ("block_size", "n_layer", "vocab_size")
        for n, value in enumerate((64, 128), start=1)
    ]
    assert from_json(json.loads(json.dumps(as_json(points)))) == points
    assert "| context | 128 | 50 | 100 |" in growth_table(points)
    draw_growth(points, tmp_path / "figures" / "growth.png")
    assert (tmp_path / "figures" / "growth.png").stat().st_size > 10_000


# What other programs print.


def test_variants_are_read_from_the_audits_table():
    table = (
        "┃ lesson ┃ checks ┃ points ┃ wrong ┃ false accepts ┃ right ┃ false rejects ┃ mutants ┃ x ┃\n"
        "│     03 │     14 │     20 │    31 │             0 │     6 │             0 │      60 │ 1 │\n"
    )
    assert judging.variants_in(table, "03") == (31, 6, 60)
    with pytest.raises(AssertionError, match="no row for lesson 08"):
        judging.variants_in(table, "08")


def test_seconds_are_read_from_the_load_test():
    table = (
        "| 8 right and wrong ones alone | 1.9 s each |\n"
        "| the same with plain `nbgrader autograde`, in its kernel | 6.2 s each |\n"
        "| ratio | 0.31 |\n"
    )
    assert judging.seconds_in(table) == (1.9, 6.2, 0.31)


def test_the_plain_loops_line_is_read():
    line = "plain loop: 12 steps, 49,152 tokens in 60 s (819 tokens/s), bits per byte 1.2345\n"
    assert quality.plain_result(line) == (1.2345, 49152, 60.0)
    trial = quality.Trial(5.0, 1, 0.8, 1.0, 2_000_000, 2_500_000, 290, 300, "2026-01-01")
    assert "| 5, 1 | 0.800 | 1.000 | 20.0% |" in quality.quality_table([trial])
    assert "Not measured" in quality.quality_table([])


# The command.


def test_kinds_are_chosen_in_the_tables_order():
    assert chosen(None) == [*KINDS, "growth"]
    assert chosen(["loader", "step"]) == ["step", "loader"]
    with pytest.raises(CourseError, match="no kind 'lodaer'; --only takes some of: step, memory"):
        chosen(["lodaer"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "nothing"], "no kind 'nothing'"),
        (["--data", "no/such"], "no folder no/such"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--quick", "--site"], "--quick measures nothing that belongs on the site"),
    ],
)
def test_misuse_is_one_sentence(arguments, says, capsys, tmp_path):
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err


def test_without_a_gpu_its_rows_are_sentences(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rows = gpu.rows(BenchmarkOptions(threads=1, out=tmp_path, data=None))
    assert [row.name for row in rows] == ["gpu-small", "gpu-medium", "gpu-large", "gpu-124M"]
    assert all("no CUDA device" in row.missing for row in rows)
    assert gpu.shapes()["large"]["n_embd"] == 768


def test_a_side_that_dies_is_one_sentence():
    with (
        Contender("machine:no_such_function", threads=1) as side,
        pytest.raises(CourseError, match="machine:no_such_function of the benchmark ended early"),
    ):
        side()


def test_it_runs(tmp_path):
    """From the command line: a table, a record, a Markdown file."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "solutions.benchmark", "--quick", "--threads", "1"),
            *("--only", "loader", "bpe", "gpu", "--out", str(tmp_path)),
        ],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    rows, machines = read_rows(tmp_path / "benchmarks.json")
    names = [row.name for row in rows]
    assert names[:2] == ["loader", "bpe-train-ministories"]
    assert "gpu-124M" in names
    assert all(row.measured["machine"] in machines for row in rows)
    assert "a loop of slices, stacked" in result.stdout
    assert "a loop of slices, stacked" in (tmp_path / "benchmarks.table.md").read_text()


@pytest.mark.slow
def test_every_kind_runs(tmp_path):
    arguments = ["--quick", "--threads", "1", "--compiled", "--out", str(tmp_path)]
    assert main(arguments) == 0
    rows, _ = read_rows(tmp_path / "benchmarks.json")
    kinds = {row.name.partition("-")[0] for row in rows}
    assert kinds >= {"step", "loss", "decode", "loader", "tokenise", "encode", "start", "gpu"}
    assert (tmp_path / "growth.png").exists()


@pytest.mark.slow
def test_the_gpus_code_runs_on_a_cpu(tmp_path):
    options = BenchmarkOptions(threads=1, out=tmp_path, data=None, quick=True)
    (row,) = gpu.on_device("cpu", {"tiny": TINY}, {"tiny": 2}, options, compiled=False)
    assert row.ours.median > 0
    assert row.theirs.median > 0
    assert "x transformers" in row.note
