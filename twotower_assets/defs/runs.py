"""Runs jobs from the command line: in this process, in the home's persistent Dagster instance.

The Dagster UI shows these runs like any other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from platform import node
from typing import Any

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.event_log import speed_up_sqlite_event_log
from twotower_assets.defs.partitions import daily_partitions, range_tags
from twotower_assets.defs.run_origin import runs_listed_under_job
from twotower_assets.defs.training_config import require_known_setting
from twotower_assets.recipes.recipes import load_recipes, recipe_named
from twotower_assets.workspace import Workspace, prepare_dagster_home

PROCESS_TAG = "twotower/process"


class RunFailedError(RuntimeError):
    """A run failed; the message names the step, its cause, and failing checks."""


@contextmanager
def open_instance(workspace: Workspace) -> Iterator[dg.DagsterInstance]:
    """The persistent Dagster instance of the home folder. Raises `RunFailedError` where its files cannot be written."""
    prepare_dagster_home(workspace.settings)
    speed_up_sqlite_event_log()
    with _storage_problems_in_words(workspace), dg.DagsterInstance.get() as instance:
        end_killed_runs(instance)
        yield instance


@contextmanager
def _storage_problems_in_words(workspace: Workspace) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise RunFailedError(
            f"Dagster cannot read or write its files in {workspace.settings.dagster_home}: "
            f"{getattr(error, 'orig', None) or error}. Is the disk full, or the folder read-only? The tables of the "
            "lake are whole; run the job again when there is room"
        ) from error


def end_killed_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs of `run_job` whose process is gone as failed; otherwise they would block a queue slot forever."""
    host = node()
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        run_host, _, process = run.tags.get(PROCESS_TAG, "").rpartition(":")
        if run_host == host and not _alive(int(process)):
            instance.report_run_failed(run, f"Process {process}, which executed this run, was killed.")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # the process exists and belongs to another user
    return True


def run_job(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    job: str,
    first: date,
    last: date,
    log_level: str = "INFO",
    training: Mapping[str, Any] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run a job for one day, or for a range of days as one run; `training` overrides training settings.

    Raises `RunFailedError`.
    """
    _require_partitions(workspace, first, last)
    tags: dict[str, str] = {}
    partition_key = first.isoformat() if first == last else None
    if partition_key is None:
        tags = range_tags(first, last)
    config = {"tower_checkpoint": dict(training)} if training else {}
    return _execute(workspace, instance, job, f"{first} to {last}", partition_key, config, tags, log_level)


def run_unpartitioned_job(
    workspace: Workspace, instance: dg.DagsterInstance, job: str, log_level: str = "INFO"
) -> dg.ExecuteInProcessResult:
    """Run a job without partitions, with its defaults. Raises `RunFailedError`."""
    return _execute(workspace, instance, job, "this home", None, {}, {}, log_level)


def choose_champion(
    workspace: Workspace, instance: dg.DagsterInstance, config: Mapping[str, Any], log_level: str = "WARNING"
) -> None:
    """Materialize the champion with a person's decision as its `ChampionConfig`. Raises `RunFailedError`."""
    _execute(workspace, instance, "champion_job", "the champion", None, {"champion": config}, {}, log_level)


@dataclass(frozen=True)
class ComparedRecipes:
    """The results of a comparison, as Markdown."""

    table: str
    popularity: str
    recommendation: str


def compare_recipes(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    recipes: Sequence[str],
    baseline: str,
    seeds: int,
    training: Mapping[str, Any],
    log_level: str = "INFO",
) -> ComparedRecipes:
    """Train recipes (default: all) and the baseline, then compare all recipes that were ever trained on these data.

    Raises `RunFailedError`; `RecipeError` and `TrainingSettingError` for an unknown recipe or setting.
    """
    for setting in training:
        require_known_setting(setting)
    known = load_recipes(workspace.settings.recipes_file)
    chosen = dict.fromkeys([recipe_named(known, baseline).name, *(recipes or known)])
    config = {"seeds": list(range(seeds)), "training": dict(training)}
    for name in chosen:
        recipe_named(known, name)
    for name in chosen:
        _execute(workspace, instance, "recipes_job", name, name, {"negative_sampling_runs": config}, {}, log_level)
    options = {"negative_sampling_comparison": {"baseline": baseline}}
    result = _execute(workspace, instance, "comparison_job", "all recipes", None, options, {}, log_level)
    metadata = result.asset_materializations_for_node("negative_sampling_comparison")[0].metadata
    return ComparedRecipes(*(str(metadata[name].value) for name in ("comparison", "popularity", "recommendation")))


def _execute(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    job: str,
    subject: str,
    partition_key: str | None,
    op_config: Mapping[str, Any],
    tags: Mapping[str, str],
    log_level: str,
) -> dg.ExecuteInProcessResult:
    """Run a job in this process. Raises `RunFailedError`."""
    definitions = dg.Definitions.merge(
        build_definitions(workspace.settings), dg.Definitions(loggers={"console": _console})
    )
    config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": log_level}}}}
    if op_config:
        config["ops"] = {op: {"config": dict(values)} for op, values in op_config.items()}
    try:
        with runs_listed_under_job(instance, definitions.get_repository_def().name, job):
            result = definitions.resolve_job_def(job).execute_in_process(
                instance=instance,
                run_config=config,
                raise_on_error=False,
                partition_key=partition_key,
                tags={PROCESS_TAG: f"{node()}:{os.getpid()}", **tags},
            )
    except dg.DagsterError as error:
        raise RunFailedError(f"{job} for {subject} cannot start: {error}") from error
    if not result.success:
        raise RunFailedError(f"{job} for {subject} failed: " + "; ".join(failure_reasons(result)))
    return result


def partition_days(workspace: Workspace) -> tuple[date, date]:
    """The first daily partition and the last that has ended. Raises `RunFailedError` if none has ended yet."""
    partitions = daily_partitions(*workspace.days(), workspace.settings.window_days)
    keys = partitions.get_first_partition_key(), partitions.get_last_partition_key()
    if not all(keys):
        raise RunFailedError(f"no daily partition has ended yet; the first is {workspace.days()[0]}")
    first, last = (date.fromisoformat(str(key)) for key in keys)
    return first, last


def _require_partitions(workspace: Workspace, *days: date) -> None:
    first, last = partition_days(workspace)
    for day in days:
        if not first <= day <= last:
            raise RunFailedError(f"{day} is not a daily partition; partitions range from {first} to {last}")


@dg.logger(
    config_schema={"log_level": str}, description="Progress of a run; the reasons of a failure are in `RunFailedError`."
)
def _console(context: dg.InitLoggerContext) -> logging.Logger:
    """Logs everything below ERROR: stack traces are in the Dagster UI."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    handler.addFilter(lambda record: record.levelno < logging.ERROR)
    logger = logging.Logger("twotower", context.logger_config["log_level"])
    logger.addHandler(handler)
    return logger


def failure_reasons(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    """Why a run failed: the failed steps with their messages, then the failed checks."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            if error and error.cls_name == "DagsterAssetCheckFailedError":
                continue  # the failed check itself is reported below
            while error and error.cause and str(error.cls_name).startswith(("Dagster", "RetryRequested")):
                error = error.cause  # the platform's own error; its causes are in the UI
            yield f"step {event.step_key}: {_message(error) if error else 'no reason given'}"
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            yield f"check {evaluation.check_name} of {evaluation.asset_key.to_user_string()}: {evaluation.description}"


def _message(error: Any) -> str:
    """The error message without the class name that Dagster puts before it, and without Pydantic's links."""
    name, _, message = error.message.strip().partition(": ")
    text = message if error.cls_name and name.endswith(error.cls_name) else error.message
    shown = "\n".join(line for line in text.strip().splitlines() if "errors.pydantic.dev" not in line)
    return shown or f"ended by {error.cls_name}"  # an interruption has no message
