"""SVGs as Markdown images, for the metadata that Dagster shows; sparklines are small enough to be in every row.

How an SVG gets into Markdown belongs here. Charts with axes are in `charts`.
"""

import base64
import math
from collections.abc import Sequence

from twotower_assets.reporting.theme import SERIES_COLOURS

_COLOUR = SERIES_COLOURS["two_tower"]


def sparkline(values: Sequence[float | None]) -> str:
    """Draw a line of 120 × 24 pixels without axes; as a Markdown image it is shorter than 700 characters.

    Args:
        values: in order; None, NaN and infinity are dropped, a long series is thinned.
    """
    finite = [float(value) for value in values if value is not None and math.isfinite(value)]
    if len(finite) > 30:
        finite = [finite[round(step * (len(finite) - 1) / 29)] for step in range(30)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span, steps = (high - low) or 1.0, max(len(finite) - 1, 1)
    points = [
        (3 + round(111 * step / steps), 12 if high == low else 21 - round(18 * ((value - low) / span)))
        for step, value in enumerate(finite)
    ]
    line = " ".join(f"{x},{y}" for x, y in points)
    dot = f'<circle cx="{points[-1][0]}" cy="{points[-1][1]}" r="3" fill="{_COLOUR}"/>' if points else ""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="120" height="24">'
        f'<polyline fill="none" stroke="{_COLOUR}" points="{line}"/>{dot}</svg>'
    )


def svg_data_uri(svg: str) -> str:
    """Return an SVG as a `data:` URI, which Markdown metadata in Dagster shows as a picture."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def as_markdown_image(svg: str, alt: str) -> str:
    """Return an SVG as a Markdown image with the alternative text `alt`."""
    text = " ".join(alt.replace("[", "(").replace("]", ")").replace("\\", "/").split())
    return f"![{text}]({svg_data_uri(svg)})"
