"""A report in a real browser, on a desktop, on a phone and on paper. Without Chromium and its driver these tests skip."""

from __future__ import annotations

import base64
import json
import shutil

import pytest
from conftest import TINY

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed")
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
def page(tmp_path_factory):
    """The address of a report of a small grid of everything."""
    import main

    folder = tmp_path_factory.mktemp("page")
    words = ["--result-dir", str(folder), "--expid"]
    assert main.main([*TINY, "--pruner-list", "rand", "mag", "snip", "grasp", "synflow", "--compression-list", "0.5", "1", "--save-trace",
                      "--jobs", "1", *words, "grid"]) == 0  # fmt: skip
    assert main.main([*TINY, "--pruner", "rand", "--compression", "0.5", "--quantization", *words, "mixed"]) == 0
    assert main.main(["--experiment", "report", "--run", str(folder), *words, "report"]) == 0
    return (folder / "report" / "report" / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
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
