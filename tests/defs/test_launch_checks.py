"""A mistake in the launchpad: the run is refused before it starts."""

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config.snap import snap_from_config_type
from dagster._core.execution.api import create_execution_plan
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap
from pydantic import Field

from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.launch_checks import InvalidRunConfigError, checked_at_launch
from twotower_assets.recipes.recipes import load_recipes
from twotower_assets.settings import Settings


class Sizes(dg.Config):
    """The configuration of an asset."""

    size: int = Field(1, le=3)


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    home = tmp_path_factory.mktemp("home")
    (home / "recipes.yaml").write_text("mine: {description: Mine., training: {temperature: 0.4}}\n")
    return build_definitions(
        Settings(home=home, dataset="parquet", first_day=date(2024, 1, 1), last_day=date(2024, 1, 6), window_days=6)
    )


def launch(definitions: dg.Definitions, job: str, step: str, config: dict[str, Any]) -> None:
    """What Dagster does with a configuration before there is a run."""
    create_execution_plan(definitions.resolve_job_def(job), {"ops": {step: {"config": config}}})


@pytest.mark.parametrize("config", [{}, {"temperature": 0.5}, {"recipe": "mine", "masks": ["clicked"], "epochs": 3}])
def test_a_configuration_that_can_be_trained_is_launched(definitions: dg.Definitions, config: dict[str, Any]) -> None:
    launch(definitions, "training_job", "tower_checkpoint", config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"temperature": 50.0}, r"temperature: .* less than or equal to 10 \(found: 50.0\)"),
        ({"window_days": 7}, "window_days is 7, but the platform's features look back 6 days"),
        ({"correction": "logq_positive_excluded", "positive_aware_share": 0.9}, "use 'logq'"),
        ({"recipe": "hard_category", "correction": "logq_positive_excluded"}, "category negatives do; use .logq."),
    ],
)
def test_what_could_not_be_trained_is_refused_with_the_reason(
    definitions: dg.Definitions, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRunConfigError, match=f"tower_checkpoint cannot be run .*{message}"):
        launch(definitions, "training_job", "tower_checkpoint", config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"temperature": "hot"}, 'temperature. Value "hot" .* not valid'),
        ({"recipe": "nope"}, "recipe not in enum type recipe got nope"),
        ({"correction": "both"}, "correction not in enum type correction got both"),
        ({"masks": ["clicked", "liked"]}, r"masks\[1\] not in enum type masks got liked"),
        ({"temprature": 0.5}, "unexpected config entry"),
    ],
)
def test_what_the_launchpad_knows_is_refused_while_it_is_typed(
    definitions: dg.Definitions, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match=message):
        launch(definitions, "training_job", "tower_checkpoint", config)


def test_the_launchpad_offers_the_recipes_of_the_user_too(definitions: dg.Definitions) -> None:
    op: Any = definitions.resolve_job_def("training_job").graph.node_named("tower_checkpoint").definition
    offered = op.config_schema.config_type.fields["recipe"].config_type.inner_type
    values = {value.value for value in snap_from_config_type(offered).enum_values}
    assert {"best", "logq", "mine"} <= values


@pytest.mark.parametrize(
    ("job", "step", "config", "message"),
    [
        ("recipes_job", "negative_sampling_runs", {"training": {"temperature": 50.0}}, "temperature"),
        ("recipes_job", "negative_sampling_runs", {"training": {"temprature": 0.5}}, "temprature"),
        ("recipes_job", "negative_sampling_runs", {"model_day": "2023-12-31"}, "partitions range from 2024-01-01"),
        ("recipes_job", "negative_sampling_runs", {"window_days": 7}, "look back 6 days"),
    ],
)
def test_a_comparison_is_refused_as_a_training_is(
    definitions: dg.Definitions, job: str, step: str, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRunConfigError, match=message):
        launch(definitions, job, step, config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"version": ""}, "version: .* at least 1 character"),
        ({"reason": "it is the newest"}, "name a version to serve, or set roll_back"),
    ],
)
def test_a_decision_by_hand_that_names_nothing_is_refused(
    definitions: dg.Definitions, config: dict[str, Any], message: str
) -> None:
    launch(definitions, "champion_job", "champion", {"version": "2024-01-06", "reason": "to see its lists"})
    launch(definitions, "champion_job", "champion", {"roll_back": True, "reason": "bad lists"})
    with pytest.raises(InvalidRunConfigError, match=f"champion cannot be run .*{message}"):
        launch(definitions, "champion_job", "champion", config)


def test_an_unknown_baseline_is_refused(definitions: dg.Definitions) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="baseline"):
        launch(definitions, "comparison_job", "negative_sampling_comparison", {"baseline": "nope"})


def test_two_platforms_have_their_own_checks(definitions: dg.Definitions, tmp_path: Path) -> None:
    longer = build_definitions(Settings(home=tmp_path, dataset="parquet", first_day=date(2024, 1, 1), window_days=9))
    launch(longer, "training_job", "tower_checkpoint", {"window_days": 7})
    with pytest.raises(InvalidRunConfigError):
        launch(definitions, "training_job", "tower_checkpoint", {"window_days": 7})


def launchpad(definitions: dg.Definitions, job: str) -> dict[str, Any]:
    """What the launchpad of a job starts with."""
    snapshot = definitions.resolve_job_def(job).get_job_snapshot()
    (mode,) = snapshot.mode_def_snaps
    schema = snapshot.config_schema_snapshot
    found = default_values_yaml_from_type_snap(schema, schema.get_config_snap(str(mode.root_config_key)))
    return dict(yaml.safe_load(found))


def test_the_launchpad_starts_with_the_default_recipe_and_its_settings(definitions: dg.Definitions) -> None:
    shown = launchpad(definitions, "training_job")["ops"]["tower_checkpoint"]["config"]
    own = load_recipes()["best"].config()
    assert (shown["recipe"], shown["window_days"]) == ("best", 6)
    for name in ("temperature", "epochs", "correction", "masks", "dimensions", "learning_rate"):
        assert shown[name] == getattr(own, name)
    launch(definitions, "training_job", "tower_checkpoint", shown)


def test_another_recipe_with_every_setting_of_the_default_one_is_refused(definitions: dg.Definitions) -> None:
    shown = launchpad(definitions, "training_job")["ops"]["tower_checkpoint"]["config"]
    with pytest.raises(InvalidRunConfigError, match="nothing of the recipe 'logq' would be used"):
        launch(definitions, "training_job", "tower_checkpoint", {**shown, "recipe": "logq"})


def test_a_platform_with_an_unknown_default_recipe_loads_and_refuses_its_trainings(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, dataset="parquet", first_day=date(2024, 1, 1), recipe="gone")
    definitions = build_definitions(settings)
    launch(definitions, "training_job", "tower_checkpoint", {"recipe": "best"})
    with pytest.raises(InvalidRunConfigError, match="unknown recipe 'gone'"):
        launch(definitions, "training_job", "tower_checkpoint", {})


def test_an_asset_that_is_checked_is_otherwise_as_it_was() -> None:
    days = dg.DailyPartitionsDefinition("2024-01-01")
    upstream = dg.AssetDep("raw", partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-2))
    first = dg.AssetSpec("first", deps=[upstream], description="The first.", code_version="7", kinds={"python"})
    second = dg.AssetSpec("second", deps=["first"], group_name="others", owners=["team:models"], metadata={"a": 1})

    @dg.multi_asset(specs=[first, second], partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
    def both(config: Sizes) -> dg.MaterializeResult:
        """Both of them."""
        return dg.MaterializeResult(metadata={"size": config.size})

    checked = checked_at_launch(both, Sizes)
    assert {spec.key: spec for spec in checked.specs} == {spec.key: spec for spec in both.specs}
    assert checked.partitions_def == both.partitions_def
    assert checked.backfill_policy == both.backfill_policy
    assert (checked.op.name, checked.op.description) == (both.op.name, both.op.description)
    assert checked.asset_deps == both.asset_deps
