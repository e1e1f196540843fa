"""The page of `twotower check-data`: one HTML file without scripts, from one `DataCheck`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twotower_assets.reporting import theme

if TYPE_CHECKING:
    from twotower_assets.reporting.raw_data_facts import DataCheck

HEIGHT = 140


def render_data_page(found: DataCheck) -> str:
    """The page. Text from the data is escaped."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("twotower_assets.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = {name: Markup(svg) for name, svg in draw_data_charts(found).items()}
    template = environment.get_template("data_check.html.jinja")
    return theme.printable(template.render(found=found, charts=charts, bucket_colours=theme.BUCKET_COLOURS))


def draw_data_charts(found: DataCheck) -> dict[str, str]:
    """Rows and click rate by day, and rows by hour, as SVG."""
    days = [{"day": str(day.day), "rows": day.rows, "rate": day.click_rate} for day in found.days]
    hours = [{"hour": hour, "rows": count} for hour, count in enumerate(found.hours)]
    return {
        "rows_by_day": _drawn(days, "day:T", "rows:Q", "Rows", f"Bar chart of the rows of {len(days)} days"),
        "click_rate_by_day": _drawn(days, "day:T", "rate:Q", "Click rate", "Chart of the click rate by day", line=True),
        "rows_by_hour": _drawn(hours, "hour:O", "rows:Q", "Rows", "Bar chart of the rows by hour of the UTC day"),
    }


def _drawn(rows: list[dict[str, Any]], x: str, y: str, title: str, label: str, *, line: bool = False) -> str:
    import altair as alt

    base = alt.Chart({"values": rows})
    colour = theme.SERIES_COLOURS[next(iter(theme.SERIES_COLOURS))]
    marks = base.mark_line(point=True, color=colour) if line else base.mark_bar(color=colour)
    chart = marks.encode(
        x=alt.X(x, title=None, axis=alt.Axis(grid=False, labelAngle=0, labelOverlap=True)),
        y=alt.Y(y, title=title, axis=alt.Axis(tickCount=4)),
    ).properties(width=theme.WIDTH, height=HEIGHT)
    return theme.to_svg(chart, label)
