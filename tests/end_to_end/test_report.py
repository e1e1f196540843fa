"""The report of a trained model: what it says of the model itself, and of the version that was served before it."""

from __future__ import annotations

import re
import urllib.request
from datetime import date, timedelta
from typing import Any

from end_to_end.market import LAST, free_port, materialize, metadata, rows, workspace_in
from twotower_assets.core.buckets import BUCKETS
from twotower_assets.serving.report_server import REPORTS, reports_served
from twotower_assets.workspace import Workspace

SERVED = "SELECT model_version FROM champion"


def page_of(workspace: Workspace, day: date = LAST) -> str:
    """The page that is written when the report of a day is materialized, as text."""
    return page_and_metadata(workspace, day)[0]


def page_and_metadata(workspace: Workspace, day: date = LAST) -> tuple[str, dict[str, Any]]:
    """The page as text, and its Dagster metadata."""
    (event,) = materialize(workspace, "popularity_bias_report", day=day).asset_materializations_for_node(
        "popularity_bias_report"
    )
    facts = metadata(event)
    html = (workspace.settings.home / facts["path"]).read_text(encoding="utf-8")
    return " ".join(re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]+>", " ", html, flags=re.DOTALL).split()), facts


def test_the_report_shows_settings_lists_and_lineage_of_the_model(changeable: Workspace) -> None:
    page = page_of(changeable)
    assert "No other version was served before this one" in page
    assert re.search(r"dimensions 8 64 Length of the user and item vectors", page)
    assert re.search(r"User u\d+ : the most clicks", page)
    assert re.search(rf"Item \d+ (✓ clicked later )?like Item \d+ ; Item \d+ ({'|'.join(BUCKETS)})", page)
    ((version, snapshot, run),) = rows(
        changeable, "SELECT version, lake_snapshot, run_id FROM artifacts WHERE asset = 'tower_checkpoint'"
    )
    lineage = page.split("Inputs of this page.")[1]
    assert version in lineage
    assert f"training_pairs – {snapshot} 2024-01-01 to 2024-01-06" in lineage
    assert run in lineage


def test_its_metadata_links_the_page_that_is_served(changeable: Workspace) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    facts = page_and_metadata(workspace_in(changeable.settings.home, report_address=address))[1]
    assert facts["report"] == f"{address}/{facts['report_version']}/report.html"
    with reports_served(changeable.settings.artifacts_folder / REPORTS, address) as served:
        assert served
        with urllib.request.urlopen(facts["report"], timeout=10) as answer:
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.read() == (changeable.settings.home / facts["path"]).read_bytes()


def test_another_model_is_set_beside_the_one_that_is_served(changeable: Workspace) -> None:
    ((served,),) = rows(changeable, SERVED)
    materialize(changeable, "tower_checkpoint", epochs=1, temperature=2.0)
    page, facts = page_and_metadata(changeable)
    assert isinstance(facts["recall_at_20_gained"], float)
    assert "data:image/svg+xml" in facts["paired_differences"]
    assert f"Recall@20 compared with {served}, the version served before, on the same held-out clicks: " in page
    assert "This version and the one served before, on the same users" in page


def test_the_index_of_another_model_is_not_shown(changeable: Workspace) -> None:
    assert "The vector index Recall and speed" in page_of(changeable)
    materialize(changeable, "tower_checkpoint", epochs=1)
    assert "The vector index Not measured for this version." in page_of(changeable)


def test_a_served_model_trained_on_the_held_out_clicks_is_reported_and_not_compared(
    changeable: Workspace,
) -> None:
    ((served,),) = rows(changeable, SERVED)
    earlier = LAST - timedelta(days=1)
    materialize(changeable, "tower_checkpoint", day=earlier)
    page = page_of(changeable, earlier)
    assert f"There is no comparison with {served}, the version served before: {served} was trained on" in page
    assert "This version and the one served before" not in page
