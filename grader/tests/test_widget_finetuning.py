"""Lesson 12's widgets agree with its `dpo_loss` and its gradient, and with torch's singular values."""

import pytest
import torch

from solutions.finetuning import dpo_loss

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import button, control, open_widget, put, shared_page, too_wide, widget_page

pytestmark = [needs_browser, pytest.mark.slow]
preference = shared_page("preference")
rank = shared_page("rank", rank="2")
POLICY = ("policy: log p of the happy one", "policy: log p of the sad one")
REFERENCE = ("reference: log p of the happy one", "reference: log p of the sad one")


def numbers(place, name: str) -> list[float]:
    return [float(number) for number in place.get_attribute(f"data-{name}").split()]


def one(place, name: str) -> float:
    return numbers(place, name)[0]


def computed(policy, reference, beta, smoothing, chosen=0):
    """The lesson's loss, and minus its gradient by the chosen answer's log-probability."""
    now = torch.tensor([policy], dtype=torch.float64, requires_grad=True)
    rejected = 1 - chosen
    before = (None, None)
    if reference is not None:
        before = tuple(
            torch.tensor([reference[i]], dtype=torch.float64) for i in (chosen, rejected)
        )
    loss = dpo_loss(now[:, chosen], now[:, rejected], *before, beta, smoothing)
    (gradient,) = torch.autograd.grad(loss, now)
    return loss.item(), -gradient[0, chosen].item()


@pytest.mark.parametrize(
    ("policy", "reference", "beta", "smoothing", "chosen"),
    [
        ([-13.0, -12.0], [-14.0, -11.0], 0.1, 0.0, 0),
        ([-24.0, -33.0], [-14.0, -11.0], 0.1, 0.0, 0),
        ([-2.0, -39.5], [-20.0, -3.0], 1.0, 0.0, 0),
        ([-2.0, -39.5], [-20.0, -3.0], 1.0, 0.2, 1),
        ([-5.5, -7.5], [-9.0, -1.0], 0.35, 0.45, 1),
        ([-5.5, -7.5], None, 0.35, 0.1, 0),
    ],
)
def test_loss_and_push_are_the_lessons(
    driver, preference, policy, reference, beta, smoothing, chosen
):
    place = open_widget(driver, preference)
    for labels, values in ((POLICY, policy), (REFERENCE, reference or [-1, -30])):
        for label, value in zip(labels, values, strict=True):
            put(driver, control(place, label), value)
    put(driver, control(place, "beta"), beta)
    put(driver, control(place, "label smoothing"), smoothing)
    put(driver, control(place, "people prefer"), chosen)
    put(driver, control(place, "compared with"), "yes" if reference else "no")
    loss, push = computed(policy, reference, beta, smoothing, chosen)
    assert one(place, "loss") == pytest.approx(
        loss, rel=1e-5, abs=1e-12
    )  # dpo_loss may use 32 bits
    assert one(place, "push") == pytest.approx(push, rel=1e-5, abs=1e-12)
    assert f"the loss is {loss:.3f}" in place.text
    assert not complaints(driver)


def test_steps_lower_the_loss_and_begin_again_undoes_them(driver, preference):
    place = open_widget(driver, preference)
    assert one(place, "margin") == 0
    assert one(place, "loss") == pytest.approx(0.693147, abs=1e-6)
    button(place, "One step").click()
    first = one(place, "loss")
    assert first < 0.693
    button(place, "Ten steps").click()
    happy, sad = numbers(place, "policy")
    assert one(place, "loss") < first
    assert happy > -14 and sad < -11
    put(driver, control(place, POLICY[0]), -24)
    put(driver, control(place, POLICY[1]), -33)
    assert "itself is less probable than it was" in place.text
    button(place, "Begin again").click()
    assert numbers(place, "policy") == [-14, -11]
    assert one(place, "margin") == 0


def test_what_the_page_says_without_scripts_is_what_one_sees(driver, preference):
    place = open_widget(driver, preference)
    button(place, "Ten steps").click()
    happy, sad = numbers(place, "policy")
    assert happy + 14 == pytest.approx(4, abs=0.5)
    assert sad + 11 == pytest.approx(-4, abs=0.5)
    assert one(place, "loss") == pytest.approx(0.37, abs=0.02)


def test_smoothing_pushes_back_where_the_margin_is_too_large(driver, preference):
    place = open_widget(driver, preference)
    for label, value in zip((*POLICY, "beta", "label smoothing"), (0, -40, 1, 0.1), strict=True):
        put(driver, control(place, label), value)
    assert one(place, "push") < 0
    assert "pushes it back" in place.text


@pytest.mark.parametrize("change", range(6))
def test_the_nearest_matrix_of_a_rank_is_torchs(driver, rank, change):
    place = open_widget(driver, rank)
    put(driver, control(place, "the change"), change)
    for r in (1, 2, 5, 16):
        put(driver, control(place, "rank"), r)
        wanted = torch.tensor(numbers(place, "wanted"), dtype=torch.float64).reshape(16, 16)
        made = torch.tensor(numbers(place, "made"), dtype=torch.float64).reshape(16, 16)
        values = torch.linalg.svdvals(wanted)
        share = float((values[:r] ** 2).sum() / (values**2).sum())
        assert one(place, "kept") == pytest.approx(share, abs=1e-5)
        error = float((wanted - made).norm())
        assert error == pytest.approx(float((values[r:] ** 2).sum().sqrt()), abs=1e-4)
    assert not complaints(driver)


def test_counts_are_those_of_the_layers(driver, rank):
    place = open_widget(driver, rank)
    from solutions.finetuning import LoRALinear, count_parameters

    for shape in ("256 768", "768 2304"):
        put(driver, control(place, "counted for a layer of"), shape)
        put(driver, control(place, "rank"), 4)
        inputs, outputs = map(int, shape.split())
        layer = LoRALinear(torch.nn.Linear(inputs, outputs, bias=False), 4, 8)
        lora, everything = count_parameters(layer)
        assert (one(place, "lora"), one(place, "full")) == (lora, everything - lora)
        assert f"{lora:,}" in place.text
    put(driver, control(place, "counted for a layer of"), "16 16")
    put(driver, control(place, "rank"), 12)
    assert "more than the whole matrix" in place.text


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("widget", ["preference", "rank"])
def test_they_fit_a_phone(tmp_path, widget, dark):
    with browser(PHONE, dark=dark) as phone:
        place = open_widget(phone, widget_page(tmp_path, widget, {}, dark=dark))
        assert not too_wide(phone)
        if widget == "preference":
            button(place, "Ten steps").click()
        else:
            put(phone, control(place, "counted for a layer of"), "4096 4096")
        assert not too_wide(phone)
        picture(phone, f"{widget}-phone-{'dark' if dark else 'light'}")
        assert not complaints(phone)
