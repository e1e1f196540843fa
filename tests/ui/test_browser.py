"""What an engineer does in the Dagster UI, in a real browser: materialize an asset, see its charts, make a mistake."""

from __future__ import annotations

import re
from typing import Any

import pytest
from end_to_end.market import LAST, instance_of, rows

from twotower_assets.defs.naming import key_of
from twotower_assets.defs.runs import RunFailedError, choose_champion
from twotower_assets.serving.report_server import REPORTS, reports_served
from ui.conftest import Served

LAUNCHPAD = "/locations/twotower_assets/jobs/training_job/playground"


def materializations(ui: Served, asset: str) -> int:
    with instance_of(ui.workspace) as instance:
        return len(instance.fetch_materializations(key_of(asset), limit=100).records)


def test_an_asset_is_materialized_from_its_page(page: Any, ui: Served) -> None:
    before = materializations(ui, "item_frequency_daily")
    page.goto("/assets/features/item_frequency_daily")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Select a partition or create one").click()
    page.keyboard.type(str(LAST))
    page.get_by_text("Select all (1)").click()
    page.keyboard.press("Escape")
    dialog.get_by_role("button", name="Launch 1 run").click()
    page.get_by_role("link", name="View", exact=True).first.click()
    page.wait_for_url("**/runs/*")
    page.get_by_text(re.compile("^(Success|Failure|Canceled)$")).first.wait_for()
    assert page.get_by_text("Success", exact=True).count(), page.inner_text("body")
    assert materializations(ui, "item_frequency_daily") == before + 1


def test_a_training_shows_its_charts(page: Any) -> None:
    page.goto("/assets/training/tower_checkpoint?view=overview")
    page.get_by_text("Latest materialization").wait_for()
    assert page.get_by_text(str(LAST)).first.is_visible()
    assert drawn(page, "Loss by epoch")
    page.get_by_role("row", name="loss_curve").get_by_text("[Show Markdown]").click()
    assert drawn(page, "Loss and recall by epoch")


def drawn(page: Any, words: str) -> bool:
    """Whether the browser could draw a chart: its picture has a size."""
    picture = page.get_by_role("img", name=words)
    picture.wait_for()
    return bool(picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth > 50)"))


def test_the_report_opens_with_a_click_and_the_summary_is_whole(page: Any, ui: Served) -> None:
    (version,) = rows(ui.workspace, "SELECT report_version FROM champion")[0]
    settings = ui.workspace.settings
    with reports_served(settings.artifacts_folder / REPORTS, settings.report_address):
        page.goto(f"/assets/reports/popularity_bias_report?view=overview&partition={LAST}")
        page.get_by_text(first_words_of_the_summary(ui)).first.wait_for()
        table = page.locator("table", has=page.get_by_text("recall_at_20", exact=True)).first
        assert table.evaluate("table => table.offsetWidth <= table.parentElement.clientWidth")
        with page.context.expect_page() as opened:
            page.get_by_role("link", name=f"{settings.report_address}/{version}/report.html").first.click()
        report = opened.value
        report.get_by_role("heading", level=1).wait_for()
        assert report.url == f"{settings.report_address}/{version}/report.html"


def first_words_of_the_summary(ui: Served) -> str:
    with instance_of(ui.workspace) as instance:
        event = instance.get_latest_materialization_event(key_of("popularity_bias_report"))
    assert event is not None
    assert event.asset_materialization is not None
    return " ".join(str(event.asset_materialization.metadata["summary"].value).split()[:5])


def test_a_run_that_fails_says_why_before_anything_else(page: Any, ui: Served) -> None:
    with instance_of(ui.workspace) as instance, pytest.raises(RunFailedError):
        choose_champion(ui.workspace, instance, {"version": "nothing"}, "CRITICAL")
    with instance_of(ui.workspace) as instance:
        run = instance.get_runs(limit=1)[0].run_id
    page.goto(f"/runs/{run}")
    reason = page.get_by_text("Failure: there is no version 'nothing' of the model; name a version")
    reason.first.wait_for()
    assert page.get_by_text("Error occurred while executing op").count() == 0


def test_a_mistake_in_the_launchpad_is_told_and_no_run_starts(page: Any, ui: Served) -> None:
    with instance_of(ui.workspace) as instance:
        before = instance.get_runs_count()
    page.goto(LAUNCHPAD)
    page.get_by_placeholder("Partition").fill(str(LAST))
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.get_by_text(f"partition: {LAST}").wait_for()  # until then the editor is filled anew
    write(page, "recipe: nope")
    page.get_by_text("not in enum type recipe got nope").first.wait_for()
    write(page, "temperature: 50.0")
    page.get_by_text("No errors").wait_for()
    page.get_by_role("button", name="Launch Run").click()
    page.get_by_text("temperature: Input should be less than or equal to 10 (found: 50.0)").first.wait_for()
    with instance_of(ui.workspace) as instance:
        assert instance.get_runs_count() == before


def write(page: Any, setting: str) -> None:
    """Put a setting of the training into the editor."""
    text = f"ops:\n  tower_checkpoint:\n    config:\n      {setting}\n"
    page.locator(".CodeMirror").first.evaluate("(editor, text) => editor.CodeMirror.setValue(text)", text)


def test_the_launchpad_starts_with_the_recipe_and_its_settings(page: Any) -> None:
    page.goto("/locations/twotower_assets/jobs/training_job")
    page.get_by_role("button", name="Materialize all").locator("xpath=following::button[1]").click()
    page.get_by_text("Open launchpad").click()
    page.get_by_text("recipe: best").wait_for()
    assert page.get_by_text("temperature: 0.2").is_visible()


def test_runs_of_the_command_line_are_under_their_jobs_and_on_the_timeline(page: Any) -> None:
    page.goto("/jobs")
    row = page.get_by_role("link", name="training_job").locator("xpath=ancestor::*[contains(., 'ago')][1]")
    row.first.wait_for()
    page.goto("/overview/activity/timeline")
    for job in ("features_job", "training_job"):
        page.get_by_role("link", name=job).first.wait_for()
