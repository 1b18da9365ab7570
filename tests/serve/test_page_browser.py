"""The page in a headless Chromium, whose microphone hears a recording."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

pytest.importorskip("gradio")
pytest.importorskip("playwright")

from playwright.sync_api import Browser  # noqa: E402

from desta.inference.engine import Engine  # noqa: E402
from desta.serving.guard import Access  # noqa: E402
from desta.serving.limits import ServingLimits  # noqa: E402
from page_screens import Visit, chromium, find_chromium  # noqa: E402
from support.serving import Served, serve_tiny  # noqa: E402

pytestmark = [
    pytest.mark.serve,
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium here"),
]

TOKEN = "a-token-of-24-characters"


@pytest.fixture(scope="module")
def served(engine: Engine) -> Iterator[Served]:
    with serve_tiny(engine, with_page=True, limits=ServingLimits(max_tokens=8)) as server:
        yield server


@pytest.fixture(scope="module")
def browser(published_tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    spoken = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    samples, rate = soundfile.read(published_tiny / "a.wav")
    soundfile.write(spoken, samples, rate, subtype="PCM_16")  # the only kind that Chromium plays
    with chromium(spoken) as browser:
        yield browser


def test_a_spoken_question_is_answered(served: Served, browser: Browser) -> None:
    visit = Visit.to(browser, f"{served.url}/ui/")
    visit.record(1.5)
    visit.ask("What is said?")
    assert visit.answer.strip() not in ("", "…")
    assert visit.page.locator("#got svg").count() == 1
    assert visit.page.locator("#got tr").count() == 8
    assert visit.hosts == {served.url.removeprefix("http://"), ""}  # blobs have no host
    assert visit.complaints == []
    assert visit.weak_texts == []

    before = served.metric('desta_requests_total{route="/v1/chat/completions",status="200"}')
    box = visit.page.locator("#transcription-1 textarea")
    box.fill("other words")
    visit.page.get_by_role("button", name="Ask again").click()
    visit.page.locator("#got blockquote", has_text="other words").wait_for()
    assert visit.page.locator("#chat .bot .md").count() == 1
    visit.ask("And now?")
    visit.page.locator("#chat .bot .md").nth(1).wait_for()
    after = served.metric('desta_requests_total{route="/v1/chat/completions",status="200"}')
    assert after - before == 2


def test_the_page_works_in_the_dark_on_a_phone_and_by_keyboard(
    served: Served, browser: Browser
) -> None:
    phone = {"width": 390, "height": 844}
    visit = Visit.to(browser, f"{served.url}/ui/", viewport=phone, color_scheme="dark")
    visit.page.locator("#question textarea").wait_for()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visit.weak_texts == []
    visit.page.keyboard.type("Hello?")  # the question has the focus
    visit.page.keyboard.press("Enter")
    visit.wait()
    assert visit.answer.strip() not in ("", "…")


def test_a_refusal_is_shown_and_the_question_stays(
    served: Served, browser: Browser, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    visit = Visit.to(browser, f"{served.url}/ui/")
    visit.page.locator("#question input[type=file]").set_input_files(broken)
    visit.page.locator("#question .thumbnail-item").first.wait_for()
    visit.page.locator("#question textarea").fill("What is said?")
    visit.page.locator("#question textarea").press("Enter")
    visit.page.get_by_text("Not answered").wait_for()
    assert visit.page.locator("#question textarea").input_value() == "What is said?"


def test_with_tokens_the_visitor_types_one_once(engine: Engine, browser: Browser) -> None:
    access, limits = Access((TOKEN,), None), ServingLimits(max_tokens=8)
    with serve_tiny(engine, with_page=True, access=access, limits=limits) as closed:
        visit = Visit.to(browser, f"{closed.url}/ui/")
        visit.page.get_by_label("Token of this server").fill(TOKEN)
        visit.page.keyboard.press("Enter")
        visit.page.locator("#question textarea").wait_for()
        visit.ask("Hello?")
        assert visit.answer.strip() not in ("", "…")
