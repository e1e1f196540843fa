"""Every setting of the platform: its name, type, range, default and description.

Settings come from the environment (prefix `TWOTOWER_`), then from `twotower.env` in the home folder, then from the
defaults here. Settings of a single training run (batch size, temperature, …) are in `recipes/config.py`, and edited in
the launchpad.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from twotower_assets.core.cores import available_cores
from twotower_assets.core.errors import ExpectedError
from twotower_assets.core.folders import DEFAULT_HOME, SQL_FOLDER
from twotower_assets.core.suggestions import did_you_mean

ENV_PREFIX = "TWOTOWER_"


class SettingsError(ExpectedError, ValueError):
    """A setting is out of range, or two settings contradict each other."""


class Settings(BaseSettings):
    """The settings of one home folder, which holds one lake, which belongs to one data set."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", frozen=True, env_ignore_empty=True)

    home: Path = Field(
        DEFAULT_HOME,
        description="Folder of all state: Dagster instance, lake, artifacts, caches.",
    )

    # Sources
    dataset: str = Field(
        "movielens",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Folder of SQL under `sql/sources/` (or the name given to `TWOTOWER_SQL_SOURCES`).",
    )
    source_path: Path | None = Field(
        None, description="Folder of the raw files. Default: `cache/<dataset>` in the home folder."
    )
    source_format: str | None = Field(
        None,
        description="File format to read if a data set has several; detected from the files if not set.",
    )
    sql_sources: Path | None = Field(
        None,
        description="A folder with your own `impressions.sql`, `items.sql` and, if there are any, `users.sql`.",
    )
    first_day: date | None = Field(None, description="First daily partition (UTC). Default: what `days.sql` says.")
    earliest_day: date = Field(
        date(1990, 1, 1),
        description="Rows before this day have a wrong time: they are rejected, and give no first day.",
    )
    last_day: date | None = Field(
        None,
        description="Last daily partition (UTC) of a closed log. Default: what `days.sql` says; else today.",
    )
    maximum_rejected_share: float = Field(
        0.1, ge=0, le=1, description="A larger share of rejected rows, over all days of a run or on one, fails it."
    )
    noticed_orphan_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="A larger share of a day's impressions or clicks whose item is not in the catalogue is a warning.",
    )
    maximum_orphan_share: float = Field(
        0.2, ge=0, le=1, description="A larger share of such rows fails a check, and nothing is trained on that day."
    )

    # Features
    window_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="Trailing window, in days, of frequencies, exposures, histories and training.",
    )
    half_life_days: float = Field(
        14.0, gt=0, le=3650, description="Half-life, in days, of the decayed item frequencies."
    )
    history_length: int = Field(
        100,
        ge=1,
        le=1000,
        description="Clicked items kept in the history of a training pair, the latest ones.",
    )

    # Hold-out
    hold_out: Literal["by_day", "per_user_last"] = Field(
        "by_day",
        description="`by_day`: test = the last day, validation = the day before. `per_user_last`: each user's "
        "last share.",
    )
    test_share: float = Field(
        0.2, gt=0, lt=1, description="`per_user_last`: share of a user's clicks held out as test."
    )
    validation_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="`per_user_last`: share of a user's clicks held out as validation, before the test.",
    )

    # Recipes
    recipe: str = Field(
        "best",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Recipe that `tower_checkpoint` trains unless a run names another.",
    )
    recipes: Path | None = Field(
        None, description="A YAML file with your recipes. Default: `recipes.yaml` in the home folder."
    )

    # Serving
    popularity_weight: float = Field(
        1.0,
        ge=0,
        le=1,
        description="γ served by default: 1 = click probability, 0 = PMI, affinity alone.",
    )
    popularity_from: Literal["clicks", "impressions"] = Field(
        "clicks",
        description="What log q counts: the clicks of the training split, or its impressions.",
    )
    index_factory: str | None = Field(
        None, description="FAISS index-factory string. Default: chosen by catalogue size (flat, IVF)."
    )
    minimum_index_recall: float = Field(
        0.95,
        ge=0,
        le=1,
        description="An index below this recall@100 against exact search is not served. An approximate one is searched "
        "no deeper than it takes.",
    )
    maximum_recall_loss: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the champion's recall@20 that a challenger may lose: the whole 95 % interval of the "
        "paired difference must lie above it.",
    )
    minimum_kept_of_champion: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Share of the champion's coverage@20, and of its recall@20 beyond the head, that a challenger must "
        "have.",
    )
    minimum_coverage: float = Field(
        0.0, ge=0, le=1, description="A version with a coverage@20 below this is not served, whatever the champion has."
    )
    minimum_beyond_head_recall: float = Field(
        0.0,
        ge=0,
        le=1,
        description="A version with a recall@20 beyond the head below this is not served, whatever the champion has.",
    )

    # Machine and schedule
    time_zone: str = Field("UTC", description="Time zone of the daily schedule. Partitions are UTC days.")
    report_address: str = Field(
        "http://127.0.0.1:3030",
        pattern=r"^https?://[^/\s]+(/\S*)?$",
        description="Where the Dagster UI finds the pages of reports. `twotower ui` serves them there if it is this "
        "machine; otherwise let a web server serve `artifacts/popularity_bias_report`.",
    )
    schedule_hour: int = Field(3, ge=0, le=23, description="Hour of the day at which the daily schedule runs.")
    memory_limit: str | None = Field(
        None,
        pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$",
        description="DuckDB's memory limit, such as `4GiB`; beyond it, it spills. Default: two fifths of the memory.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Threads of DuckDB, FAISS and torch. Default: all available; of torch half, as two runs may train.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="What trains: `cpu`, by compiled loops; `cuda`, a GPU, by plain operations of PyTorch; `auto`, a "
        "GPU where there is one.",
    )
    catalog_lock_seconds: float = Field(
        120.0, gt=0, description="How long a commit waits for another process's commit before it fails."
    )
    event_log: Literal["dagster", "batched"] = Field(
        "dagster",
        description="`dagster`: Dagster's own event log. `batched`: the same files, written in fewer transactions; for "
        "runs over hundreds of days.",
    )

    @field_validator("home", "source_path", "sql_sources", "recipes")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().resolve() if path else None

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"unknown time zone '{name}'; use a name such as 'Europe/Berlin'") from error
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise ValueError(f"last_day {self.last_day} lies before first_day {self.first_day}")
        if self.sql_sources and "dataset" not in self.model_fields_set:
            raise ValueError("sql_sources is set: name your data set with TWOTOWER_DATASET")
        if self.test_share + self.validation_share >= 1:
            raise ValueError(
                f"test_share {self.test_share:g} + validation_share {self.validation_share:g} must stay below 1, "
                "to leave something to train on"
            )
        return self

    @property
    def plausible_from(self) -> date:
        """The first day on which a row can lie: `earliest_day`, or the first partition if that is earlier."""
        return min(self.earliest_day, self.first_day or self.earliest_day)

    @property
    def query_threads(self) -> int:
        """Threads of DuckDB, and of FAISS where it builds and measures an index."""
        return self.threads or available_cores()

    @property
    def training_threads(self) -> int:
        """Threads of torch and of compiled loops."""
        return self.threads or max(1, available_cores() // 2)

    @property
    def lake_folder(self) -> Path:
        """Catalogue and Parquet files."""
        return self.home / "lake"

    @property
    def artifacts_folder(self) -> Path:
        """Checkpoints, indexes and reports."""
        return self.home / "artifacts"

    @property
    def cache_folder(self) -> Path:
        """Files that can be downloaded or computed again."""
        return self.home / "cache"

    @property
    def dagster_home(self) -> Path:
        """The folder of the Dagster instance."""
        return self.home / "dagster"

    @property
    def data_folder(self) -> Path:
        """The folder of the raw files."""
        return self.source_path or self.cache_folder / self.dataset

    @property
    def recipes_file(self) -> Path:
        """The YAML file of the user's recipes, which may be missing."""
        return self.recipes or self.home / "recipes.yaml"

    @property
    def source_sql_folder(self) -> Path:
        """The folder of `impressions.sql`, `items.sql`, `users.sql` and `days.sql` of the data set."""
        return self.sql_sources or SQL_FOLDER / "sources" / self.dataset


def load_settings(**overrides: object) -> Settings:
    """Settings from `overrides`, the environment and `<home>/twotower.env`, in that order.

    Raises `SettingsError` with one line per wrong setting, or for an unknown name.
    """
    home = overrides.get("home") or os.environ.get(f"{ENV_PREFIX}HOME") or Settings.model_fields["home"].default
    env_file = Path(str(home)).expanduser() / "twotower.env"
    given = [f"{ENV_PREFIX}{name.upper()}" for name in overrides]
    _refuse_unknown([*given, *os.environ, *dotenv_values(env_file)], env_file)
    try:
        return Settings(_env_file=env_file if env_file.is_file() else None, **overrides)  # type: ignore[arg-type, call-arg]
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            message = problem["msg"].removeprefix("Value error, ")
            if problem["loc"]:
                name = ENV_PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
                message = f"{name}: {message} (found: {problem['input']!r})"
            lines.append(message)
        raise SettingsError("\n".join(lines)) from error


def _refuse_unknown(names: Iterable[str], env_file: Path) -> None:
    known = [ENV_PREFIX + name.upper() for name in Settings.model_fields]
    for name in names:
        if name.startswith(ENV_PREFIX) and name not in known:
            where = f"(in the environment or {env_file})"
            raise SettingsError(f"unknown setting {name} {where}{did_you_mean(name, known)}")
