"""A line chart as SVG, for reports: small enough to be written by hand and to be part of a page."""

from base64 import b64encode
from collections.abc import Collection, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT, MARGIN = 720, 160, 24


def line_chart(
    title: str, values: Sequence[float], marked: Collection[int] = (), ends: tuple[str, str] = ("", "")
) -> str:
    """A data URL of a line through the values, with a dot at each that is marked by its index.

    Args:
        title: Stands above the line, with the smallest and the largest value.
        values: From left to right.
        marked: Indexes of those with a dot.
        ends: What the first and the last value are of; stands below them.
    """
    low, high = min(values, default=0), max(values, default=0)
    across = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)
    up = (HEIGHT - 2 * MARGIN) / ((high - low) or 1)
    points = [(MARGIN + index * across, HEIGHT - MARGIN - (value - low) * up) for index, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{points[i][0]:.1f}" cy="{points[i][1]:.1f}" r="4" fill="#d33"/>' for i in marked)
    text = f"{title}: {low:g} to {high:g}" if values else f"{title}: nothing"
    # No background, and a grey that can be read on a light page and on a dark one.
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="#808080">'
        f'<polyline points="{line}" fill="none" stroke="#3b7bf0" stroke-width="1.5"/>{dots}'
        f'<text x="{MARGIN}" y="14">{escape(text)}</text><text x="{MARGIN}" y="{HEIGHT - 6}">{escape(ends[0])}</text>'
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 6}" text-anchor="end">{escape(ends[1])}</text></svg>'
    )
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
