"""Who is to be served: versions judged against the champion, or named by hand; each decision with its reasons.

Nothing is written here, and nothing published; that is done in `publish_champion.py`. What a gate asks is SQL in
`sql/checks/`.
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
"""What stands among the outcomes of the gates where the champion cannot be."""


@dataclass(frozen=True)
class Decision:
    """What was decided of a version.

    Attributes:
        version: whom it is about.
        decision: a value of `champion_decisions.decision`.
        reasons: in words, with numbers.
        champion_before: the version that was served until then.
        comparison: the rows of `version_comparisons` that it rests on, if any.
    """

    version: Version
    decision: str
    reasons: str
    champion_before: str | None
    comparison: pl.DataFrame | None = None


@dataclass(frozen=True)
class Choice:
    """What is to be served from now on, None where it stays as it is, and the decisions that led there."""

    served: Version | None
    decisions: list[Decision]


def choose(con: duckdb.DuckDBPyConnection, workspace: Workspace) -> Choice:
    """Judge the challengers, newest first, up to the first that passes the gates."""
    champion = champion_of(con)
    decisions = []
    for row in con.execute(read_query("serving/challengers.sql")).fetchall():
        decision = judge_challenger(con, workspace, Version(*row), champion)
        decisions.append(decision)
        if decision.decision == PROMOTED:
            return Choice(decision.version, decisions)
    return Choice(None, decisions)


def choose_by_hand(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, reason: str) -> Choice:
    """Serve the version that a person names. The gates are not asked; its files must be whole.

    Raises:
        VersionError: no such version, one without index or report, or the one that is served already.
        ArtifactError, CheckpointError, ItemIndexError: its files are damaged or gone.
    """
    champion = champion_of(con)
    version = _servable(con, workspace, name, champion)
    before = champion.model_version if champion else None
    return Choice(version, [Decision(version, BY_HAND, f"{reason}; the gates were not asked", before)])


def roll_back(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str | None, reason: str) -> Choice:
    """Serve again what was served before the champion, or the version named, which must have been served once.

    Raises as `choose_by_hand` does, and `VersionError` where nothing was served before.
    """
    champion = champion_of(con)
    if champion is None:
        raise VersionError("nothing is served yet, so there is nothing to roll back")
    if name is None:
        name = scalar(con, read_query("serving/champion_before.sql"), {"version": champion.model_version})
        if name is None:
            raise VersionError(
                f"no decision says what was served before {champion.model_version}; name the version to go back to: "
                "`twotower roll-back --to VERSION`"
            )
    version = _servable(con, workspace, name, champion, as_it_was=True)
    if not scalar(con, read_query("serving/was_served.sql"), {"version": version.model_version}):
        raise VersionError(
            f"{version.model_version} was never served, so there is no going back to it; `twotower promote "
            f"{version.model_version}` serves it"
        )
    reasons = f"{reason}; {version.model_version} is served again"
    return Choice(version, [Decision(champion, ROLLED_BACK, reasons, champion.model_version)])


def _servable(
    con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, champion: Version | None, as_it_was: bool = False
) -> Version:
    """The version named, with its newest index or, `as_it_was`, the one that it was served with last."""
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
            f"that version is its day's model, or name {NAMING}"
        )
    if champion and (champion.model_version, champion.index_version) == (version.model_version, version.index_version):
        raise VersionError(f"{version.model_version} is served already")
    _read_files(workspace, version)
    return version


def judge_challenger(
    con: duckdb.DuckDBPyConnection, workspace: Workspace, version: Version, champion: Version | None
) -> Decision:
    """Put every gate to a challenger: those of its own, then, if it passes them, those beside the champion.

    Without a champion, or with one that cannot be served any more, its own gates and the floors decide. A champion that
    is served but cannot be compared stays: a person decides then.
    """
    before = champion.model_version if champion else None
    outcomes = _own_outcomes(con, workspace, version)
    comparison = None
    if all(outcome.passed for outcome in outcomes.values()):
        told, comparison = _compare(workspace, version, champion)
        outcomes |= told
        stage_rows(con, "version_comparisons", [] if comparison is None else comparison.to_dicts())
        outcomes |= {
            gate.name: evaluate_gate(con, gate, _day(version), workspace.settings, version.model_version)
            for gate in CHALLENGER_GATES
        }
    passed = all(outcome.passed for outcome in outcomes.values())
    return Decision(version, PROMOTED if passed else REFUSED, in_words(outcomes), before, comparison)


def _own_outcomes(con: duckdb.DuckDBPyConnection, workspace: Workspace, version: Version) -> dict[str, Outcome]:
    from twotower_assets.retrieval.index import ItemIndexError
    from twotower_assets.two_tower.checkpoint import CheckpointError

    outcomes = {gate.name: evaluate_gate(con, gate, _day(version), workspace.settings) for gate in CHAMPION_GATES}
    try:
        _read_files(workspace, version)
    except (ArtifactError, CheckpointError, ItemIndexError) as error:
        outcomes["files_are_whole"] = Outcome(False, str(error), "checkpoint, index and vectors as they were written")
    return outcomes


def _compare(
    workspace: Workspace, version: Version, champion: Version | None
) -> tuple[dict[str, Outcome], pl.DataFrame | None]:
    """The challenger beside the champion; where they cannot be compared, what follows from it."""
    from twotower_assets.two_tower.checkpoint import CheckpointError

    if champion is None or champion.model_version == version.model_version:
        return {}, None
    try:
        return {}, compare_versions(workspace, version.model_version, champion.model_version).rows
    except (ArtifactError, CheckpointError, ComparisonError, HoldOutError) as error:
        served = _is_servable(workspace, champion)
        then = "it is served all the same, and stays until a person decides" if served else "nor can it be served"
        told = f"the champion {champion.model_version} cannot be compared: {error}; {then}"
        wanted = "the champion judged on the same hold-out; `twotower promote` decides by hand"
        return {COMPARABLE: Outcome(not served, told, wanted)}, None


def _is_servable(workspace: Workspace, version: Version) -> bool:
    from twotower_assets.retrieval.index import ItemIndexError
    from twotower_assets.retrieval.storage import load_index

    try:
        load_index(workspace.artifacts.open("ann_index", str(version.index_version)).folder)
    except (ArtifactError, ItemIndexError):
        return False
    return True


def _read_files(workspace: Workspace, version: Version) -> None:
    """Read every file that serving needs. Raises where one is missing, or is not what was written."""
    from twotower_assets.retrieval.storage import load_index
    from twotower_assets.two_tower.checkpoint import load_checkpoint

    load_checkpoint(workspace.artifacts.open("tower_checkpoint", version.model_version).folder)
    index = workspace.artifacts.open("ann_index", str(version.index_version))
    load_index(index.folder)
    for table in ("served_item_embeddings", "served_user_embeddings"):
        vector_file(index, table)
    workspace.artifacts.verify(index)


def _day(version: Version) -> Days:
    return Days(version.model_day, version.model_day)


def in_words(outcomes: dict[str, Outcome]) -> str:
    """What failed, then what held, of some gates."""
    failed, held = (
        [(name.replace("_", " "), outcome) for name, outcome in outcomes.items() if outcome.passed is passed]
        for passed in (False, True)
    )
    parts = {
        "failed": [f"{name} ({outcome.observed}; wanted: {outcome.expected})" for name, outcome in failed],
        "held": [f"{name} ({outcome.observed})" for name, outcome in held],
    }
    return "; ".join(f"{title}: {', '.join(those)}" for title, those in parts.items() if those)


def without_repeats(con: duckdb.DuckDBPyConnection, decisions: list[Decision]) -> Iterator[Decision]:
    """The decisions that say something else than the last verdict on the same versions."""
    sql = read_query("serving/last_verdict.sql")
    for one in decisions:
        pair = {"model_version": one.version.model_version, "champion_before": one.champion_before}
        last = con.execute(sql, pair).fetchone()
        if one.decision not in (PROMOTED, REFUSED) or last != (one.decision, one.reasons, one.version.index_version):
            yield one


def with_newest_report(con: duckdb.DuckDBPyConnection, champion: Version) -> Version:
    """The champion with the newest report on it."""
    known = [Version(*row) for row in con.execute(read_query("serving/versions.sql")).fetchall()]
    reports = [one.report_version for one in known if one.model_version == champion.model_version]
    return replace(champion, report_version=reports[0]) if reports and reports[0] else champion
