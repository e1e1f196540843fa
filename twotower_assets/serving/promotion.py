"""Which version to serve: challengers evaluated against the champion, or a version chosen by hand, with reasons.

Nothing is written or published here; `publish_champion.py` does that. What a gate checks is SQL in `sql/checks/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import duckdb

from twotower_assets.checks.gates import CHALLENGER_GATES, CHAMPION_GATES, evaluate_gate
from twotower_assets.checks.outcome import Outcome
from twotower_assets.core.days import Days
from twotower_assets.experiments.compare_versions import ComparisonError, compare_versions
from twotower_assets.experiments.hold_out import HoldOutError
from twotower_assets.lake.artifacts import ArtifactError
from twotower_assets.lake.queries import read_query, scalar
from twotower_assets.lake.staging import stage_rows
from twotower_assets.serving.versions import NAMING, Version, VersionError, champion_of, find_version, vector_file
from twotower_assets.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

PROMOTED, REFUSED, BY_HAND, ROLLED_BACK = "promoted", "refused", "promoted by hand", "rolled back"
COMPARABLE = "can be compared"
"""Name of the outcome that is added to those of the gates if the champion cannot be compared."""


@dataclass(frozen=True)
class Decision:
    """A decision about a version.

    Attributes:
        version: the version that was decided about.
        decision: a value of `champion_decisions.decision`.
        reasons: text with numbers.
        champion_before: the version that was served until then; None if nothing was.
        comparison: the rows of `version_comparisons` behind it, if any.
    """

    version: Version
    decision: str
    reasons: str
    champion_before: str | None
    comparison: pl.DataFrame | None = None


@dataclass(frozen=True)
class Choice:
    """The version to serve from now on (None: no change), and the decisions that led to it."""

    served: Version | None
    decisions: list[Decision]


def choose(con: duckdb.DuckDBPyConnection, workspace: Workspace) -> Choice:
    """Evaluate the challengers, newest first, until one passes the gates."""
    champion = champion_of(con)
    decisions = []
    for row in con.execute(read_query("serving/challengers.sql")).fetchall():
        decision = evaluate_challenger(con, workspace, Version(*row), champion)
        decisions.append(decision)
        if decision.decision == PROMOTED:
            return Choice(decision.version, decisions)
    return Choice(None, decisions)


def choose_by_hand(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, reason: str) -> Choice:
    """Serve the version that a person names. Gates are not evaluated, but its files must be intact.

    Raises:
        VersionError: the version does not exist, has no index or report, or is already served.
        ArtifactError, CheckpointError, ItemIndexError: its files are damaged or missing.
    """
    champion = champion_of(con)
    version = _servable(con, workspace, name, champion)
    before = champion.model_version if champion else None
    return Choice(version, [Decision(version, BY_HAND, f"{reason}; the gates were not evaluated", before)])


def roll_back(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str | None, reason: str) -> Choice:
    """Serve the previous champion again, or the named version, which must have been served before.

    Raises as `choose_by_hand` does, and `VersionError` if nothing was served before.
    """
    champion = champion_of(con)
    if champion is None:
        raise VersionError("nothing is served yet, so there is nothing to roll back")
    if name is None:
        name = scalar(con, read_query("serving/champion_before.sql"), {"version": champion.model_version})
        if name is None:
            raise VersionError(
                f"no decision records what was served before {champion.model_version}; name the version to roll back "
                "to: `twotower roll-back --to VERSION`"
            )
    version = _servable(con, workspace, name, champion, as_it_was=True)
    if not scalar(con, read_query("serving/was_served.sql"), {"version": version.model_version}):
        raise VersionError(
            f"{version.model_version} was never served, so it cannot be rolled back to; `twotower promote "
            f"{version.model_version}` serves it"
        )
    reasons = f"{reason}; {version.model_version} is served again"
    return Choice(version, [Decision(champion, ROLLED_BACK, reasons, champion.model_version)])


def _servable(
    con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, champion: Version | None, as_it_was: bool = False
) -> Version:
    """The named version with its newest index or, with `as_it_was`, with the index that it was last served with."""
    version = find_version(con, name)
    row = con.execute(read_query("serving/as_served.sql"), {"version": version.model_version}).fetchone()
    if as_it_was and row:
        version = replace(version, index_version=row[0], report_version=row[1])
    missing = [
        asset
        for asset, there in (("ann_index", version.index_version), ("popularity_bias_report", version.report_version))
        if there is None
    ]
    if missing:
        raise VersionError(
            f"{version.model_version} has no {' and no '.join(missing)}; materialize it for {version.model_day} while "
            f"this version is the model of that day, or name {NAMING}"
        )
    if champion and (champion.model_version, champion.index_version) == (version.model_version, version.index_version):
        raise VersionError(f"{version.model_version} is already served")
    _read_files(con, workspace, version)
    return version


def evaluate_challenger(
    con: duckdb.DuckDBPyConnection, workspace: Workspace, version: Version, champion: Version | None
) -> Decision:
    """Evaluate all gates on a challenger: first those on the version alone, then, if it passes, the comparison gates.

    If there is no champion, or it can no longer be served, the gates on the version alone and the absolute floors
    decide. If the champion can be served but not compared, the challenger is refused and a person has to decide.
    """
    before = champion.model_version if champion else None
    outcomes = _standalone_outcomes(con, workspace, version)
    comparison = None
    if all(outcome.passed for outcome in outcomes.values()):
        not_comparable, comparison = _compare(con, workspace, version, champion)
        outcomes |= not_comparable
        stage_rows(con, "version_comparisons", [] if comparison is None else comparison.to_dicts())
        outcomes |= {
            gate.name: evaluate_gate(con, gate, _day(version), workspace.settings, version.model_version)
            for gate in CHALLENGER_GATES
        }
    passed = all(outcome.passed for outcome in outcomes.values())
    return Decision(version, PROMOTED if passed else REFUSED, describe_outcomes(outcomes), before, comparison)


def _standalone_outcomes(con: duckdb.DuckDBPyConnection, workspace: Workspace, version: Version) -> dict[str, Outcome]:
    from twotower_assets.retrieval.index import ItemIndexError
    from twotower_assets.two_tower.checkpoint import CheckpointError

    outcomes = {gate.name: evaluate_gate(con, gate, _day(version), workspace.settings) for gate in CHAMPION_GATES}
    try:
        _read_files(con, workspace, version)
    except (ArtifactError, CheckpointError, ItemIndexError) as error:
        outcomes["files_are_whole"] = Outcome(False, str(error), "checkpoint, index and vectors as they were written")
    return outcomes


def _compare(
    con: duckdb.DuckDBPyConnection, workspace: Workspace, version: Version, champion: Version | None
) -> tuple[dict[str, Outcome], pl.DataFrame | None]:
    """The comparison rows; or, if the two cannot be compared, an outcome that says so."""
    from twotower_assets.two_tower.checkpoint import CheckpointError

    if champion is None or champion.model_version == version.model_version:
        return {}, None
    try:
        return {}, compare_versions(workspace, version.model_version, champion.model_version).rows
    except (ArtifactError, CheckpointError, ComparisonError, HoldOutError) as error:
        served = _is_servable(con, workspace, champion)
        then = "it can still be served, and stays until a person decides" if served else "and it cannot be served"
        observed = f"the champion {champion.model_version} cannot be compared: {error}; {then}"
        wanted = "the champion evaluated on the same hold-out; `twotower promote` decides by hand"
        return {COMPARABLE: Outcome(not served, observed, wanted)}, None


def _is_servable(con: duckdb.DuckDBPyConnection, workspace: Workspace, version: Version) -> bool:
    from twotower_assets.retrieval.index import ItemIndexError
    from twotower_assets.retrieval.storage import load_index

    try:
        load_index(workspace.artifacts.open_recorded(con, "ann_index", str(version.index_version)).folder)
    except (ArtifactError, ItemIndexError):
        return False
    return True


def _read_files(con: duckdb.DuckDBPyConnection, workspace: Workspace, version: Version) -> None:
    """Read every file that serving needs. Raises if one is missing or differs from what was written."""
    from twotower_assets.retrieval.storage import load_index
    from twotower_assets.two_tower.checkpoint import load_checkpoint

    checkpoint = workspace.artifacts.open_recorded(con, "tower_checkpoint", version.model_version)
    load_checkpoint(checkpoint.folder, checkpoint.content_hash)
    index = workspace.artifacts.open_recorded(con, "ann_index", str(version.index_version))
    load_index(index.folder)
    for table in ("served_item_embeddings", "served_user_embeddings"):
        vector_file(index, table)
    workspace.artifacts.verify(index)


def _day(version: Version) -> Days:
    return Days(version.model_day, version.model_day)


def describe_outcomes(outcomes: dict[str, Outcome]) -> str:
    """The outcomes of gates as text: what failed, then what held."""
    failed, held = (
        [(name.replace("_", " "), outcome) for name, outcome in outcomes.items() if outcome.passed is passed]
        for passed in (False, True)
    )
    groups = {
        "failed": [f"{name} ({outcome.observed}; wanted: {outcome.expected})" for name, outcome in failed],
        "held": [f"{name} ({outcome.observed})" for name, outcome in held],
    }
    return "; ".join(f"{title}: {', '.join(gates)}" for title, gates in groups.items() if gates)


def without_repeats(con: duckdb.DuckDBPyConnection, decisions: list[Decision]) -> Iterator[Decision]:
    """The decisions that differ from the last one on the same two versions."""
    sql = read_query("serving/last_decision.sql")
    for decision in decisions:
        pair = {"model_version": decision.version.model_version, "champion_before": decision.champion_before}
        last = con.execute(sql, pair).fetchone()
        found = (decision.decision, decision.reasons, decision.version.index_version)
        if decision.decision not in (PROMOTED, REFUSED) or last != found:
            yield decision


def with_newest_report(con: duckdb.DuckDBPyConnection, champion: Version) -> Version:
    """The champion with the newest report on it."""
    known = [Version(*row) for row in con.execute(read_query("serving/versions.sql")).fetchall()]
    reports = [version.report_version for version in known if version.model_version == champion.model_version]
    return replace(champion, report_version=reports[0]) if reports and reports[0] else champion
