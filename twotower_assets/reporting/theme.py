"""The look of every chart, and the rendering of an Altair chart to a small SVG for light and dark backgrounds.

Colours, fonts, display names and the rendering belong here. What a chart shows does not.
"""

import hashlib
import re
import xml.etree.ElementTree as ET
from typing import Any

import polars as pl

from twotower_assets.core.buckets import BEYOND_HEAD, BUCKETS

WIDTH = 270
"""Width of a plot in pixels without its axes: narrow, so that its text stays legible on a phone."""

# Marks have a contrast of 3:1 or more on white and on #15171a; INK has the most that one grey can have on both.
INK = "#767676"
GRID = "#8a8a8a"
SERIES_COLOURS = {"two_tower": "#3a7bd5", "most_popular": "#c9642b", "ease": "#2a9d8f"}
OTHER_COLOURS = ("#9a6fb5", "#a8811c", "#c4568a", "#7f8c8d")
BUCKET_COLOURS = dict(zip(BUCKETS, ("#6a55b0", "#9385c9", "#c2b8e3", "#b9b9b4"), strict=True))
RECALL_BUCKETS = (*BUCKETS, BEYOND_HEAD)
"""The buckets that recall is reported for, in addition to all items."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "stroke", "triangle-down")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [10, 4], [4, 1])

MODEL_NAMES = {"two_tower": "Two-tower", "most_popular": "Most popular", "ease": "EASE", "clicks": "Clicks"}
BUCKET_NAMES = {
    "all": "All items",
    "head": "Head",
    "mid": "Mid",
    "tail": "Tail",
    "cold": "Cold",
    "beyond_head": "Beyond the head",
}
# The font that the renderer measures comes first, so that labels are as wide as it expects.
FONT = "Arial, Helvetica, 'Liberation Sans', sans-serif"
_SVG = "http://www.w3.org/2000/svg"
_NOISE = {
    "class",
    "role",
    "pointer-events",
    "font-family",
    "aria-hidden",
    "aria-roledescription",
    "aria-label",
}
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_AXIS = {
    "labelColor": INK,
    "titleColor": INK,
    "labelFontSize": 12,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
    "titlePadding": 8,
    "labelPadding": 5,
    "labelFlush": False,
    "gridColor": GRID,
    "gridOpacity": 0.28,
    "domain": False,
    "ticks": False,
}
_CONFIG: dict[str, Any] = {
    "aria": False,
    "background": None,
    "font": "sans-serif",
    "padding": {"left": 16, "right": 10, "top": 4, "bottom": 4},
    "view": {"stroke": None},
    "axis": _AXIS,
    "axisY": {"labelLimit": 150, "labelPadding": 11, "minExtent": 34},
    "header": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12},
    "title": {
        "color": INK,
        "fontSize": 12,
        "fontWeight": "bold",
        "anchor": "start",
        "frame": "group",
        "offset": 8,
    },
    "legend": {
        "orient": "top",
        "direction": "horizontal",
        "title": None,
        "labelColor": INK,
        "labelFontSize": 12,
        "symbolSize": 70,
        "symbolStrokeWidth": 2,
        "symbolOpacity": 1,
        "columnPadding": 14,
        "offset": 8,
    },
    "text": {"color": INK, "fontSize": 12},
}


def printable(text: str) -> str:
    """Remove the characters that XML does not allow, so that any title can be drawn."""
    return _NOT_IN_XML.sub("", text)


def model_name(model: str) -> str:
    """Return the display name of a model's key."""
    return MODEL_NAMES.get(model, printable(model).replace("_", " "))


def bucket_name(bucket: str) -> str:
    """Return the display name of a bucket's key."""
    return BUCKET_NAMES.get(bucket, printable(bucket).replace("_", " "))


def weight_text(weight: float) -> str:
    """Format a popularity weight: 0, ¼, ½, ¾, 1, otherwise up to two decimals."""
    return {0.0: "0", 0.25: "¼", 0.5: "½", 0.75: "¾", 1.0: "1"}.get(weight, f"{weight:.2f}".rstrip("0").rstrip("."))


def with_series(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the column `series`: the model's display name, with γ where a model appears at several weights.

    Args:
        frame: columns model and, optionally, popularity_weight.
    """
    if "popularity_weight" not in frame.columns:
        return frame.with_columns(series=pl.col("model").map_elements(model_name, return_dtype=pl.String))
    several = {
        model
        for model, weights in frame.group_by("model").agg(pl.col("popularity_weight").n_unique()).iter_rows()
        if weights > 1
    }
    names = [
        f"{model_name(model)}, γ = {weight_text(weight)}"
        if model in several and weight is not None
        else model_name(model)
        for model, weight in frame.select("model", "popularity_weight").iter_rows()
    ]
    return frame.with_columns(series=pl.Series(names, dtype=pl.String))


def series_scale(frame: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Return the names in `series`, known models first, and a colour for each.

    Args:
        frame: columns model, series.
    """
    pairs = frame.select("model", "series").unique(maintain_order=True).rows()
    known = list(SERIES_COLOURS)
    pairs.sort(key=lambda pair: known.index(pair[0]) if pair[0] in known else len(known))
    names: list[str] = []
    colours: list[str] = []
    others = 0
    for model, name in pairs:
        colour = SERIES_COLOURS.get(model)
        if colour is None or colour in colours:
            colour = OTHER_COLOURS[others % len(OTHER_COLOURS)]
            others += 1
        names.append(name)
        colours.append(colour)
    return names, colours


def to_svg(chart: Any, label: str) -> str:
    """Render an Altair chart to a compact SVG, without network access.

    Args:
        chart: an Altair chart of any kind.
        label: text alternative; becomes the `aria-label`.
    """
    import altair as alt
    import vl_convert

    spec = chart.to_dict()
    spec["config"] = _CONFIG
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return _compact(vl_convert.vegalite_to_svg(spec, vl_version=version), label)


def nothing_to_show(reason: str) -> str:
    """Return a one-line SVG that states why there is no chart."""
    root = ET.Element(
        f"{{{_SVG}}}svg",
        {
            "width": "360",
            "height": "40",
            "viewBox": "0 0 360 40",
            "role": "img",
            "aria-label": printable(reason),
        },
    )
    text = ET.SubElement(
        root, f"{{{_SVG}}}text", {"x": "4", "y": "25", "fill": INK, "font-family": FONT, "font-size": "13"}
    )
    text.text = printable(reason)
    return _serialise(root)


def _compact(svg: str, label: str) -> str:
    """Drop what a static picture does not need, and make ids unique among the charts of a page."""
    root = ET.fromstring(svg)
    _prune(root)
    root.attrib.pop("version", None)
    root.set("font-family", FONT)
    root.set("role", "img")
    root.set("aria-label", printable(label))
    return _unique_ids(_serialise(root))


def _prune(element: ET.Element) -> None:
    for name in _NOISE & element.attrib.keys():
        del element.attrib[name]
    if element.get("opacity") == "1":
        del element.attrib["opacity"]
    kept: list[ET.Element] = []
    for child in element:
        invisible = child.get("class") in {"background", "foreground"} and "fill" not in child.attrib
        _prune(child)
        if invisible or (child.tag == f"{{{_SVG}}}g" and not len(child)):
            continue
        kept.extend(child if child.tag == f"{{{_SVG}}}g" and not child.attrib else [child])
    element[:] = kept


def _unique_ids(svg: str) -> str:
    ids = re.findall(r'\sid="([^"]+)"', svg)
    prefix = hashlib.sha256(re.sub(r"clip\d+|gradient_\d+", "", svg).encode()).hexdigest()[:8]
    for number, old in enumerate(ids):
        svg = svg.replace(f'id="{old}"', f'id="{prefix}-{number}"').replace(f"url(#{old})", f"url(#{prefix}-{number})")
    return svg


def _serialise(root: ET.Element) -> str:
    ET.register_namespace("", _SVG)
    return ET.tostring(root, encoding="unicode")
