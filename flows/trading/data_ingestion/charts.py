"""A line chart as SVG, for reports: small enough to be written by hand and to be part of a page."""

from base64 import b64encode
from collections.abc import Collection, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT, MARGIN = 720, 160, 24


def line_chart(title: str, values: Sequence[float], marked: Collection[int] = ()) -> str:
    """A data URL of a line through the values, with a dot at each that is marked by its index."""
    low, high = min(values, default=0), max(values, default=0)
    across = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)
    up = (HEIGHT - 2 * MARGIN) / ((high - low) or 1)
    points = [(MARGIN + index * across, HEIGHT - MARGIN - (value - low) * up) for index, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{points[i][0]:.1f}" cy="{points[i][1]:.1f}" r="4" fill="#d33"/>' for i in marked)
    text = f"{title}: {low:g} to {high:g}" if values else f"{title}: nothing"
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<rect width="100%" height="100%" fill="#fff"/><polyline points="{line}" fill="none" stroke="#2463eb"/>'
        f'{dots}<text x="{MARGIN}" y="16" font-family="sans-serif" font-size="12">{escape(text)}</text></svg>'
    )
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
