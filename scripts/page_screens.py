"""Take screenshots of the page: Chromium's fake microphone hears a recording, which is asked about.

    python scripts/page_screens.py MODEL SPOKEN.wav FOLDER

MODEL is a checkpoint, SPOKEN.wav what the microphone hears. It writes FOLDER/page_light.png,
page_dark.png and page_phone.png, and prints what the page said to the browser's console and which
hosts it asked: nothing, and only its own.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

CONTRAST = """() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = node => {
    for (let at = node; at; at = at.parentElement) {
      const style = getComputedStyle(at), color = rgb(style.backgroundColor);
      if (color.length == 3 || color[3] > 0.9) return color;
    }
    return [255, 255, 255];
  };
  const weak = [];
  for (const node of document.querySelectorAll("body *")) {
    const text = [...node.childNodes].filter(n => n.nodeType == 3).map(n => n.data).join("").trim();
    if (!text || !node.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (node.closest("[aria-hidden=true], [disabled], script, style")) continue;
    const style = getComputedStyle(node), [a, b] = [light(rgb(style.color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), bold = parseInt(style.fontWeight) >= 700;
    if (ratio < (size >= 24 || (bold && size >= 18.66) ? 3 : 4.5))
      weak.push(`${ratio.toFixed(2)} ${node.tagName} ${text.slice(0, 40)}`);
  }
  return weak;
}"""
"""Texts whose contrast is below AA of WCAG 2."""


def find_chromium() -> str | None:
    """Return the program of a Chromium, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def chromium(spoken: Path) -> Iterator[Browser]:
    """Open a headless Chromium whose microphone hears a WAV file over and over."""
    arguments = [
        "--use-fake-ui-for-media-stream",  # nobody is there to allow the microphone
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={spoken}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A visitor of the page, and what the browser noted."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, and of scripts."""
    hosts: set[str] = field(default_factory=set)
    """Hosts that were asked."""

    @classmethod
    def to(cls, browser: Browser, url: str, **context: object) -> "Visit":
        """Open the page in a context of its own."""
        page = browser.new_context(**context).new_page()  # type: ignore[arg-type]
        visit = cls(page)
        page.on(
            "console",
            lambda note: (
                visit.complaints.append(note.text) if note.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        page.on("request", lambda request: visit.hosts.add(urlsplit(request.url).netloc))
        page.goto(url)
        return visit

    def record(self, seconds: float) -> None:
        """Record from the microphone into the next question."""
        self.page.get_by_test_id("microphone-button").click()
        recorder = self.page.get_by_test_id("minimal-audio-recorder")
        recorder.get_by_label("Start recording").click()  # there are several microphones
        self.page.wait_for_timeout(1000 * seconds)
        recorder.get_by_label("Stop recording").dispatch_event("click")  # its neighbour moves
        self.page.get_by_label("Attach audio").click()
        self.page.locator("#question .thumbnail-item").first.wait_for()

    def ask(self, question: str) -> None:
        """Type a question, and wait for the whole answer."""
        box = self.page.locator("#question textarea")
        box.fill(question)
        box.press("Enter")
        self.wait()

    def wait(self) -> None:
        """Wait for the facts about a new answer, which come last."""
        self.page.locator("#got table").last.wait_for(timeout=120_000)
        self.page.wait_for_timeout(500)

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.page.locator("#chat .bot .md").last.inner_text()

    @property
    def weak_texts(self) -> list[str]:
        """Texts with too little contrast."""
        return self.page.evaluate(CONTRAST)


@contextmanager
def server(model: str) -> Iterator[str]:
    """Serve a model with its page; the address of the server."""
    command = [sys.executable, "-m", "desta.cli", "serve", "--ui", "--model", model, "--port", "0"]
    process = subprocess.Popen([*command, "--max-tokens", "64"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"serving at (http://\S+)/v1", line):
                yield found[1]
                return
        sys.exit("the server does not start")
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "spoken", "folder"):
        parser.add_argument(name)
    given = parser.parse_args()
    folder = Path(given.folder)
    folder.mkdir(parents=True, exist_ok=True)
    wide, phone = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
    with server(given.model) as url, chromium(Path(given.spoken)) as browser:
        for name, size, scheme in (
            ("light", wide, "light"),
            ("dark", wide, "dark"),
            ("phone", phone, "light"),
        ):
            visit = Visit.to(browser, f"{url}/ui/", viewport=size, color_scheme=scheme)
            visit.record(4)
            visit.ask("What is said?")
            visit.page.screenshot(path=folder / f"page_{name}.png", full_page=name == "phone")
            print(name, visit.answer, visit.hosts, visit.complaints, visit.weak_texts, sep="\n  ")


if __name__ == "__main__":
    main()
