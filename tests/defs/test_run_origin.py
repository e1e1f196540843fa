"""Runs that are executed in this process belong to their job in the UI."""

import tomllib
from typing import Any

import dagster as dg
import pytest
import yaml

from twotower_assets.core.folders import CHECKOUT
from twotower_assets.defs.run_origin import CODE_LOCATION, runs_listed_under_job


@dg.asset
def fails_or_not(config: dict[str, bool]) -> None:
    """An asset that fails on request."""
    if config["fail"]:
        raise ValueError("on request")


DEFINITIONS = dg.Definitions(assets=[fails_or_not], jobs=[dg.define_asset_job("small_job")])
BY_LOCATION = dg.RunsFilter(job_name="small_job", tags={".dagster/repository": f"__repository__@{CODE_LOCATION}"})


def execute(instance: dg.DagsterInstance, fail: bool = False) -> dg.ExecuteInProcessResult:
    config = {"ops": {"fails_or_not": {"config": {"fail": fail}}}}
    job = DEFINITIONS.resolve_job_def("small_job")
    return job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)


@pytest.mark.parametrize("fail", [False, True])
def test_a_run_names_the_code_location_and_is_found_by_it(fail: bool) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        with runs_listed_under_job(instance, DEFINITIONS.get_repository_def().name, "small_job"):
            run_id = execute(instance, fail).run_id
        (run,) = instance.get_runs(BY_LOCATION)
        origin: Any = run.remote_job_origin
    assert run.run_id == run_id
    assert run.status.value == ("FAILURE" if fail else "SUCCESS")
    assert (origin.location_name, origin.job_name) == (CODE_LOCATION, "small_job")


def test_runs_from_then_on_are_as_dagster_makes_them() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(KeyboardInterrupt), runs_listed_under_job(instance, "__repository__", "small_job"):
            raise KeyboardInterrupt
        execute(instance)
        assert instance.get_runs(BY_LOCATION) == []


def test_the_code_location_is_the_one_that_the_ui_loads() -> None:
    (loaded,) = yaml.safe_load((CHECKOUT / "workspace.yaml").read_text())["load_from"]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert loaded["python_module"]["location_name"] == CODE_LOCATION
    assert project["code_location_name"] == CODE_LOCATION
