"""The report as a user makes it: numbers, what is left out, what is escaped, and how a browser shows it, on paper too.

Without Chromium and its driver the tests of the browser skip.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
from latex_files import check_latex
from reports import train_runs

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")  # fmt: skip
A4 = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True, "printBackground": True}
CUT = """
const page = document.documentElement.clientWidth;
return [...document.querySelectorAll("table")].filter(table => {
  const box = table.parentElement;
  const scrolls = ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
  return table.scrollWidth > box.clientWidth + 1 && !scrolls || box.getBoundingClientRect().right > page + 1;
}).length;
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train_runs(folder)
    return folder


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """The report of all of `runs`: its folder, and what the command printed."""
    import main

    place, out = tmp_path_factory.mktemp("whole"), io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main.main(["--experiment", "report", "--run", str(runs), "--result-dir", str(place), "--expid", "r"]) == 0
    return place / "report" / "r", out.getvalue()


class Page(HTMLParser):
    """What a page holds: names of elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_whole_document(whole, runs):
    folder, printed = whole
    page, text = Page((folder / "report.html").read_text()), (folder / "report.md").read_text()
    machine = json.loads((runs / "singleshot" / "mixed" / "args.json").read_text())["machine"]
    hardware = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB"
    assert hardware in set(pd.read_csv(folder / "tables" / "environment.csv")["machine"])
    assert "Load averages of the machines, over a minute, when runs began and ended: from" in text
    for title in ("Environment", "Settings", "Accuracy", "Accuracy against compression", "Inference time", "FLOPs", "Training curves", "Layers",
                  "Weight histograms", "Trace of one inference step", "Mixed precision"):  # fmt: skip
        assert f"\n## {title}\n" in text and title in page.text, title
    assert "What is missing" in page.text and "Report: " in printed and "Missing: 3 seeds" in printed
    check_latex(folder / "report.tex")
    for kind, name in re.findall(r"\((figures|tables)/([^)]+)\)", text):
        assert (folder / kind / name).stat().st_size > 0
    pictures = {file.stem for file in (folder / "figures").glob("*.png")}
    assert pictures == {file.stem for file in (folder / "figures").glob("*.pdf")}
    assert sum(tag in ("svg", "img") for tag, _ in page.tags) == len(pictures)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "done" and "report.html" in summary["files"] and summary["runs"] == 12


def test_nothing_leaves_the_page_and_every_picture_is_described(whole):
    folder, _ = whole
    page = Page((folder / "report.html").read_text())
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        for name in ("href", "src", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
        if tag == "svg":
            assert attributes["role"] == "img" and attributes["aria-label"]
        if tag == "img":
            assert attributes["alt"]
        assert not any(name.startswith("on") for name in attributes)


def test_names_are_text_in_every_format(whole):
    folder, _ = whole
    text, markdown = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror" in text
    outside_code = "\n".join(line for line in markdown.splitlines() if not line.startswith("    "))
    assert "<img" not in outside_code and "`*b*`" not in outside_code


def test_another_set_of_runs_is_refused_under_the_same_name(whole, runs, refused, tmp_path):
    shutil.copytree(whole[0], tmp_path / "report" / "r")
    refused(["--experiment", "report", "--run", runs / "singleshot", "--result-dir", tmp_path, "--expid", "r"], "another run", "--overwrite")


@pytest.fixture(scope="module")
def page(whole):
    """The address of that report."""
    return (whole[0] / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    if not (BROWSER and DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in QUIET:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser, page, width, scheme="light"):
    """Open the page at a width; returns the addresses of all requests and what the console says."""
    browser.get_log("browser"), browser.get_log("performance")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page)
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return sent, browser.get_log("browser")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_leaves_the_page_and_nothing_is_cut(browser, page, width):
    sent, console = opened(browser, page, width)
    assert console == []
    assert [address for address in sent if not address.startswith("data:")] == [page]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return document.querySelectorAll('table').length") > 8
    assert browser.execute_script(CUT) == 0


def test_every_picture_has_a_description_and_a_size(browser, page):
    opened(browser, page, 1280)
    script = "return [...document.querySelectorAll('svg, img')].map(p => [p.getAttribute('aria-label') || p.alt || '', p.getBoundingClientRect().height])"
    pictures = browser.execute_script(script)
    assert len(pictures) > 20
    assert all(len(text) > 10 and height > 100 for text, height in pictures)


def test_a_table_that_scrolls_on_a_phone_says_so(browser, page):
    opened(browser, page, 390)
    script = """return [...document.querySelectorAll("figure.table")].map(figure => {
      const box = figure.querySelector(".scroll"), hint = figure.querySelector(".hint");
      return [box.scrollWidth - box.clientWidth, hint ? hint.getBoundingClientRect().height : 0, figure.innerText.slice(0, 60)];
    })"""
    tables = browser.execute_script(script)
    assert not [table for table in tables if (table[0] > 40 and not table[1]) or (table[0] == 0 and table[1])] and any(hint for _, hint, _ in tables)
    opened(browser, page, 1280)
    assert not any(hint for _, hint, _ in browser.execute_script(script))


def test_links_lead_somewhere(browser, page):
    opened(browser, page, 1280)
    targets = browser.execute_script("return [...document.querySelectorAll('nav a')].map(a => !!document.querySelector(a.hash))")
    assert len(targets) > 8 and all(targets)


def test_dark_pages_are_dark_with_light_letters(browser, page):
    shades = {}
    for scheme in ("light", "dark"):
        opened(browser, page, 1280, scheme)
        script = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        paper, ink = (sum(map(int, colour[4:-1].split(", "))) for colour in browser.execute_script(script))
        shades[scheme] = paper - ink
    assert shades["light"] > 500 and shades["dark"] < -500


def test_on_paper_no_table_is_wider_than_the_sheet(browser, page):
    opened(browser, page, 1280)
    content = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", A4)["data"])
    assert content.startswith(b"%PDF")
    sheet = round((210 - 2 * 14) / 25.4 * 96)  # pixels between the margins
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": sheet, "height": 1000, "deviceScaleFactor": 1, "mobile": False})
    widths = browser.execute_script("return [...document.querySelectorAll('table')].map(t => t.getBoundingClientRect().right)")
    assert widths and max(widths) <= sheet + 1
