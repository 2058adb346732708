"""The dashboard as a browser shows it, where a Chromium is at hand."""

import re
import shutil
import subprocess

import pytest

from tests.support.daemon import BY, a_home

pytestmark = pytest.mark.e2e

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")
ARABIC = "مشروع المبيعات"


@pytest.fixture(scope="module")
def browser():
    """The path of a browser; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser is installed: {', '.join(BROWSERS)}")
    return found


@pytest.fixture
def shown(browser, tmp_path):
    """What stands on the page of a daemon after its script has run for three seconds."""

    def page(url):
        done = subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
                f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", f"{url}/",
            ],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        body = re.sub(r"<(script|style)>.*?</\1>", "", done.stdout, flags=re.DOTALL)
        assert "<body" in body, done.stderr
        return body

    return page


def test_projects_are_shown_with_their_names_as_text_and_problems_first(shown, tmp_path):
    with a_home(tmp_path / "home") as home:
        home.add_project("<b>bold</b>", rpm=10)
        home.add_project(ARABIC, keys=["مفتاح"], secrets={"مفتاح": "AIzaArabic"}, rpm=10)
        home.change(lambda registry: registry.keys.disable("مفتاح", by=BY))
        with home.daemon(auth=False) as daemon:
            page = shown(daemon.url)
    assert "1 of 2 projects ready, 1 disabled" in page
    assert "<b>" not in page
    assert 0 < page.index(f">{ARABIC}</bdi>") < page.index(">&lt;b&gt;bold&lt;/b&gt;</bdi>")
    assert 'class="badge disabled"' in page
    assert "as of" in page


def test_an_empty_registry_says_what_to_do(shown, tmp_path):
    with a_home(tmp_path / "home") as home, home.daemon(auth=False) as daemon:
        page = shown(daemon.url)
    assert "keypool add NAME --project PROJECT" in page


def test_a_token_is_asked_for_and_nothing_is_shown_without_it(shown, tmp_path):
    with a_home(tmp_path / "home") as home:
        home.add_project("secretive")
        with home.daemon() as daemon:
            page = shown(daemon.url)
    assert "Enter a client token" in page
    assert "secretive" not in page
    assert re.search(r'<form id="choose" hidden', page)
