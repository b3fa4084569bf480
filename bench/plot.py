"""A bar chart as SVG, by hand: horizontal bars with whiskers, readable on white and on black."""

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
.axis { stroke: #8c959f; stroke-width: 1 }
.bar { fill: #54aeff }
.whisker { stroke: #24292f; stroke-width: 1.5; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .axis { stroke: #6e7681 }
  .bar { fill: #1f6feb }
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
