"""What a person can do something about fails a run with a sentence; a fault of the platform keeps its trace."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from twotower_assets.core.errors import ExpectedError
from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.failures import expected_errors_as_failures
from twotower_assets.defs.naming import key_of
from twotower_assets.settings import Settings
from twotower_assets.workspace import open_workspace

DAY = date(2024, 1, 1)
NO_PARTITION = {"items", "users", "category_map", "champion", "negative_sampling_comparison"}
MADE_TOGETHER = {"impressions": ["rejected_impressions"], "tower_checkpoint": ["training_curves"]}


def settings_of(home: Path) -> Settings:
    return Settings(home=home, dataset="parquet", first_day=DAY, last_day=DAY, threads=1)


def every_step() -> Iterator[str]:
    """An asset of every step that makes assets."""
    for assets in build_definitions(settings_of(Path("/nonexistent"))).assets or []:
        assert isinstance(assets, dg.AssetsDefinition)
        yield assets.op.name


def failure_of(result: dg.ExecuteInProcessResult) -> Any:
    (failed,) = (event.step_failure_data for event in result.all_events if event.is_step_failure)
    return failed


@pytest.mark.parametrize("name", sorted(every_step()))
def test_every_asset_fails_with_a_sentence_in_the_lake_of_another_data_set(name: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with open_workspace(settings.model_copy(update={"dataset": "other"})).lake.writer():
        pass
    selection = dg.AssetSelection.assets(*map(key_of, [name, *MADE_TOGETHER.get(name, [])])).without_checks()
    job = dg.define_asset_job("one_step", selection)
    definitions = dg.Definitions.merge(build_definitions(settings), dg.Definitions(jobs=[job]))
    key = None if name in NO_PARTITION else "logq" if name == "negative_sampling_runs" else str(DAY)
    run = definitions.resolve_job_def("one_step").execute_in_process(partition_key=key, raise_on_error=False)
    failure = failure_of(run)
    assert failure.user_failure_data.label == "intentional-failure"
    assert failure.user_failure_data.description
    assert failure.error.cause is None


def test_a_sentence_is_not_tried_again_and_a_fault_keeps_its_trace() -> None:
    attempts = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def foreseen() -> None:
        attempts.append("foreseen")
        with expected_errors_as_failures():
            raise ExpectedError("the log is not there; fetch it")

    @dg.asset
    def unforeseen() -> None:
        with expected_errors_as_failures():
            raise KeyError("item")

    failure = failure_of(dg.materialize([foreseen], raise_on_error=False))
    assert failure.user_failure_data.description == "the log is not there; fetch it"
    assert attempts == ["foreseen"]
    fault = failure_of(dg.materialize([unforeseen], raise_on_error=False))
    assert fault.user_failure_data is None
    assert fault.error.cause.cls_name == "KeyError"
    assert any("unforeseen" in line for line in fault.error.cause.stack)
