"""Draw the method: construction above, training below, the same frozen backbone in both.

    python scripts/method_figure.py [docs/assets/method.svg]

Boxes stand in a grid of columns and rows; an arrow goes from one box to another, around a corner
where they share neither.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

COLUMN, ROW = 176, 84  # pixels between the middles of boxes
WIDTH, HEIGHT = 148, 52  # of a box
LEFT, TOP = 96, 74  # middle of the first box
SIZE = (896, 440)
STYLE = """
  svg { --ink: #1f2328; --paper: #ffffff; --frozen: #dbe7f3; --trained: #ffd9a8; --text: #f4f4f1; }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6e6e6; --paper: #16181c; --frozen: #27405a; --trained: #7a4a10; }
    svg { --text: #2a2c30; }
  }
  text { font: 14px system-ui, sans-serif; fill: var(--ink); text-anchor: middle; }
  .small { font-size: 12px; }
  .head { font-weight: 600; text-anchor: start; }
  rect { stroke: var(--ink); rx: 8px; } .paper { fill: var(--paper); stroke: none; }
  .frozen { fill: var(--frozen); } .trained { fill: var(--trained); } .text { fill: var(--text); }
  path { stroke: var(--ink); fill: none; stroke-width: 1.5; } marker path { fill: var(--ink); }
  .target { stroke-dasharray: 5 4; }
"""


@dataclass(frozen=True)
class Box:
    """A box of the figure."""

    column: float
    row: float
    kind: str
    """`text` for data, `frozen` or `trained` for parts of the model."""
    lines: tuple[str, ...]

    @property
    def middle(self) -> tuple[float, float]:
        """Its middle, in pixels."""
        return LEFT + self.column * COLUMN, TOP + self.row * ROW

    def draw(self) -> str:
        """Return its SVG."""
        x, y = self.middle
        size = f'width="{WIDTH}" height="{HEIGHT}"'
        drawn = [f'<rect class="{self.kind}" x="{x - WIDTH / 2}" y="{y - HEIGHT / 2}" {size}/>']
        for number, line in enumerate(self.lines):
            down = y + 5 + 17 * (number - (len(self.lines) - 1) / 2)
            small = ' class="small"' if number else ""
            drawn.append(f'<text{small} x="{x}" y="{down}">{escape(line)}</text>')
        return "\n".join(drawn)


BOXES = {
    "metadata": Box(0, 0, "text", ("metadata", "of a corpus")),
    "description": Box(1, 0, "text", ("description", "one line of text")),
    "reader": Box(3, 0, "frozen", ("backbone", "frozen")),
    "response": Box(4, 0, "text", ("response", "filtered")),
    "prompt": Box(3, 1.3, "text", ("prompt", "from a large pool")),
    "transcription": Box(1, 2.45, "text", ("transcription", "by Whisper")),
    "clip": Box(0, 3.55, "text", ("clip",)),
    "encoder": Box(1, 3.55, "frozen", ("encoder", "frozen")),
    "connector": Box(2, 3.55, "trained", ("connector", "trained")),
    "hearer": Box(3, 3.55, "frozen", ("the same backbone", "frozen")),
    "loss": Box(4, 3.55, "text", ("loss",)),
}
ARROWS = (
    ("metadata", "description", ""),
    ("description", "reader", ""),
    ("prompt", "reader", ""),
    ("reader", "response", ""),
    ("clip", "encoder", ""),
    ("clip", "transcription", ""),
    ("encoder", "connector", ""),
    ("connector", "hearer", ""),
    ("transcription", "hearer", ""),
    ("prompt", "hearer", ""),
    ("hearer", "loss", ""),
    ("response", "loss", "target"),
)
HEADINGS = (
    (-0.4, -0.58, "1. Construct: the backbone reads what is known of a clip, and answers prompts"),
    (-0.4, 4.2, "2. Train: only the connector learns, so that the clip brings about that response"),
)


def arrow(start: Box, end: Box, kind: str) -> str:
    """Return the SVG of an arrow: straight, or first across and then down or up."""
    (x, y), (to_x, to_y) = start.middle, end.middle
    side, down = (1 if to_x > x else -1), (1 if to_y > y else -1)
    if y == to_y:
        way = f"M{x + side * WIDTH / 2} {y}H{to_x - side * WIDTH / 2}"
    elif x == to_x:
        way = f"M{x} {y + down * HEIGHT / 2}V{to_y - down * HEIGHT / 2}"
    elif start.column < end.column and start.kind == "text" and end.kind == "text":
        way = f"M{x} {y + down * HEIGHT / 2}V{to_y}H{to_x - side * WIDTH / 2}"  # down, then across
    else:
        way = f"M{x + side * WIDTH / 2} {y}H{to_x}V{to_y - down * HEIGHT / 2}"
    return f'<path class="{kind}" d="{way}" marker-end="url(#tip)"/>'


def draw() -> str:
    """Return the figure."""
    width, height = SIZE
    heads = []
    for column, row, text in HEADINGS:
        place = f'x="{LEFT + column * COLUMN}" y="{TOP + row * ROW}"'
        heads.append(f'<text class="head" {place}>{escape(text)}</text>')
    tip = (
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0 0L8 4L0 8Z"/></marker>'
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>Self-generated cross-modal alignment</title>",
        f"<style>{STYLE}</style>",
        f"<defs>{tip}</defs>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        *heads,
        *(arrow(BOXES[start], BOXES[end], kind) for start, end, kind in ARROWS),
        *(box.draw() for box in BOXES.values()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/assets/method.svg")
    target.write_text(draw(), encoding="utf-8")
