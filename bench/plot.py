"""Charts as SVG, by hand: horizontal bars with whiskers, and lines; readable on white and on black."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

WIDTH = 760
LABELS = 290  # the names of the bars, left of them
NUMBERS = 60  # the values, right of them
ROW = 34
TOP = 44

# Its own colours for both schemes: a picture in a page does not inherit the page's.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.axis { stroke: #8c959f; stroke-width: 1; fill: none }
.bar { fill: #54aeff }
.whisker { stroke: #24292f; stroke-width: 1.5; fill: none }
.line { stroke: #54aeff; stroke-width: 2; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .axis { stroke: #6e7681 }
  .bar { fill: #1f6feb }
  .line { stroke: #1f6feb }
  .whisker { stroke: #e6edf3 }
}
"""


@dataclass(frozen=True)
class Bar:
    label: str
    median: float
    least: float
    most: float


def plot(title: str, bars: list[Bar]) -> str:
    height = TOP + ROW * len(bars) + 14
    scale = (WIDTH - LABELS - NUMBERS) / max(bar.most for bar in bars)
    rows = "\n".join(row(bar, TOP + ROW * number, scale) for number, bar in enumerate(bars))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" \
aria-label="{escape(title)}">
<style>{STYLE}</style>
<text class="title" x="0" y="20">{escape(title)} (bar: median, whisker: least to most)</text>
{rows}
<path class="axis" d="M{LABELS} {TOP - 6}V{height - 8}"/>
</svg>
"""


def row(bar: Bar, top: float, scale: float) -> str:
    def x(value: float) -> str:
        return f"{LABELS + value * scale:.1f}"

    middle = top + 11
    whisker = f"M{x(bar.least)} {middle - 5}v10M{x(bar.least)} {middle}H{x(bar.most)}M{x(bar.most)} {middle - 5}v10"
    return f"""<text x="{LABELS - 10}" y="{middle + 4}" text-anchor="end">{escape(bar.label)}</text>
<rect class="bar" x="{LABELS}" y="{top}" width="{bar.median * scale:.1f}" height="22" rx="2"/>
<path class="whisker" d="{whisker}"/>
<text x="{WIDTH - NUMBERS + 10}" y="{middle + 4}">{bar.median:.1f}</text>"""


@dataclass(frozen=True)
class Line:
    label: str
    points: list[tuple[float, float]]


HEIGHT = 260
LABEL_ROW = 16


def plot_lines(title: str, lines: list[Line]) -> str:
    """Lines from the origin, each with its name and its last point; the names do not overlap."""
    right = max((line.points[-1][0] for line in lines), default=1) or 1
    most = max((line.points[-1][1] for line in lines), default=1) or 1
    width, height = WIDTH - LABELS - NUMBERS, HEIGHT - TOP

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return point[0] / right * width, HEIGHT - point[1] / most * height

    shapes: list[str] = []
    lowest: float = HEIGHT + LABEL_ROW * max(0, len(lines) - height // LABEL_ROW)
    total = lowest + LABEL_ROW
    # From the lowest line up, so that each name is at or above the end of its line.
    for line in sorted(lines, key=lambda line: line.points[-1][1]):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in map(at, line.points))
        y = min(at(line.points[-1])[1], lowest)
        lowest = y - LABEL_ROW
        text = f"{line.label}: {line.points[-1][1]:,.0f}"
        shapes.append(f'<path class="line" d="M{path}"/>\n<text x="{width + 12}" y="{y + 4:.1f}">{escape(text)}</text>')
    rows = "\n".join(shapes)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" role="img" \
aria-label="{escape(title)}">
<style>{STYLE}</style>
<text class="title" x="0" y="20">{escape(title)} (to {right:,.0f} requests)</text>
<path class="axis" d="M0 {TOP}V{HEIGHT}H{width}"/>
{rows}
</svg>
"""
