"""The formgrader in a real browser: read a hand-in, type a mark, find it in the table of marks."""

import csv
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from grader.instructor.sandbox import sandbox_or_reason
from grader.judge.paths import ROOT

from .nbgrader_house import House, environment

selenium = pytest.importorskip(
    "selenium", reason="selenium drives the browser; it is not installed"
)

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="apt install chromium chromium-driver, to see it"
    ),
    pytest.mark.skipif(isinstance(sandbox_or_reason(), str), reason=str(sandbox_or_reason())),
]
SHOTS = (
    Path(os.environ.get("COURSE_SCREENSHOTS", "")) if "COURSE_SCREENSHOTS" in os.environ else None
)


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> House:
    house = House(tmp_path_factory.mktemp("formgrader"), "03", "attention")
    house.run("generate_assignment", "03")
    folder = house.submitted("ada")
    house.write(folder, (ROOT / "solutions" / "attention.py").read_text())
    house.answer(
        folder,
        the_mask_came_too_late="Rows sum to less than 1, and <b>the future</b> is in the denominator."
        '<img src="http://127.0.0.1:9/x.png" onerror="document.title=\'robbed\'">',
    )
    house.run("autograde", "03")
    return house


@contextmanager
def server(house: House):
    """Yield the address of a Jupyter server in the course folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyter", "server", "--no-browser", "--allow-root"),
            *(f"--port={port}", "--IdentityProvider.token=t", "--ServerApp.port_retries=0"),
            "--ServerApp.jpserver_extensions={'nbgrader.server_extensions.formgrader': True}",
        ],
        cwd=house.course,
        env=environment(house.home),
        stdout=subprocess.DEVNULL,
        stderr=(house.home / "server.log").open("w"),
    )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api?token=t", timeout=2)
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        program.terminate()
        program.wait(timeout=20)


@contextmanager
def browser():
    """Yield a headless Chromium."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.add_argument("--window-size=1200,1400")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")  # off line
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(120)
    try:
        yield driver
    finally:
        driver.quit()


def shoot(driver, name: str) -> None:
    if SHOTS:
        driver.save_screenshot(str(SHOTS / f"{name}.png"))


def test_a_mark_typed_in_the_formgrader_is_in_the_table(house):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def find(css):
        return WebDriverWait(driver, 90).until(
            lambda d: next((e for e in d.find_elements(By.CSS_SELECTOR, css) if e.is_displayed()), None),
            css,
        )  # fmt: skip

    def follow(text):
        link = WebDriverWait(driver, 90).until(
            lambda d: next(iter(d.find_elements(By.PARTIAL_LINK_TEXT, text)), None), text
        )
        link.click()

    with server(house) as address, browser() as driver:
        driver.get(f"{address}/formgrader/?token=t")
        find("a[href*='manage_submissions']")
        shoot(driver, "assignments")
        driver.get(f"{address}/formgrader/gradebook")
        follow("03")
        follow("attention")
        find("a[href*='/formgrader/submissions/']")
        shoot(driver, "submissions")
        follow("Submission #1")
        find("#notebook-container")
        text = driver.find_element(By.TAG_NAME, "body").text
        assert "the future" in text and "What counts" in text and "for graders only" in text
        box = find("input#answer-the-mask-came-too-late")
        WebDriverWait(driver, 60).until(lambda d: box.is_enabled())
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
        box.clear()
        box.send_keys("3\t")
        WebDriverWait(driver, 30).until(lambda d: saved(house) == 3)
        shoot(driver, "marked")
        assert "robbed" not in driver.title
        assert not driver.find_elements(By.CSS_SELECTOR, "#notebook-container img[src^=http]")
    house.run("export", "--to", "grades.csv")
    with open(house.course / "grades.csv", newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["student_id"] == "ada")
    assert (float(row["score"]), float(row["max_score"])) == (26 + 3, 26 + 8)


def saved(house: House) -> float | None:
    with house.gradebook() as gradebook:
        name = "answer-the-mask-came-too-late"
        return gradebook.find_grade(name, "attention", "03", "ada").manual_score
