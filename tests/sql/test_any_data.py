"""Any types, encodings, nulls, odd values and odd names: a row is found again as it was meant, or among the rejects.

`make fuzz` tries a thousand data sets, `make test` a hundred.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from twotower_assets.core.folders import SQL_FOLDER
from twotower_assets.datasets.own_data import READERS
from twotower_assets.datasets.raw_source import (
    KNOWN_COLUMNS,
    Source,
    partition_bounds,
    stage_catalogue,
    stage_impressions,
)

DAY = date(2024, 1, 2)
BOUNDS = partition_bounds(date(2023, 12, 1), date(2024, 2, 1), date(2023, 12, 1))
EARLIEST, START, END = (BOUNDS[name] for name in ("earliest", "partition_start", "partition_end"))
LONGEST_ID = 1000


@dataclass(frozen=True)
class Found:
    """A value of a column of some type: as SQL, and what its owner meant by it; None where that is nothing."""

    sql: str
    meant: Any


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def odd_text() -> st.SearchStrategy[str]:
    """Text as ids and titles have it: any character that a file can hold, and much that is often mistaken."""
    likely = [
        "1",
        "01",
        "1.0",
        "1e3",
        "nan",
        "NaN",
        "null",
        "NULL",
        "None",
        "true",
        "",
        " ",
        " 7 ",
        "a,b",
        'a"b',
        "a'b",
    ]
    odd = ["ü", "日本", "🎈", "[/end]", ":tada:", "{x}", "\t7", "a\nb", "\\N", "-", "%", "$1", "0x1F", "x" * 1001]
    any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=8)
    return st.sampled_from([*likely, *odd]) | any_text


def trimmed(text: str) -> str | None:
    """An id as it is kept: DuckDB trims spaces; what is empty is missing, and what is too long is no id."""
    kept = text.strip(" ")
    return kept if kept and "\x00" not in kept and len(kept) <= LONGEST_ID else None


def texts(kind: str) -> st.SearchStrategy[Found]:
    return odd_text().map(lambda text: Found(f"{literal(text)}::{kind}", trimmed(text)))


def whole_or_not(number: float) -> str | None:
    exact = math.isfinite(number) and number == int(number) and abs(number) < 2**53
    return str(int(number)) if exact else None


IDS: dict[str, st.SearchStrategy[Found]] = {
    "VARCHAR": texts("VARCHAR"),
    "BIGINT": st.integers(-(2**63), 2**63 - 1).map(lambda n: Found(f"({n})::BIGINT", str(n))),
    "UBIGINT": st.integers(0, 2**64 - 1).map(lambda n: Found(f"{n}::UBIGINT", str(n))),
    # Parquet has no such integers: DuckDB writes floats, which are not exact above 2^53.
    "HUGEINT": st.integers(-(2**126), 2**126).map(
        lambda n: Found(f"({n})::HUGEINT", str(n) if abs(n) < 2**53 else None)
    ),
    "DOUBLE": (st.integers(-(2**60), 2**60).map(float) | st.floats(allow_subnormal=False)).map(
        lambda number: Found(f"'{number!r}'::DOUBLE", whole_or_not(number))
    ),
    "DECIMAL(18, 3)": st.decimals(-(10**12), 10**12, places=3).map(
        lambda number: Found(
            f"({number})::DECIMAL(18, 3)", str(int(number)) if number == number.to_integral_value() else None
        )
    ),
    "BLOB": odd_text().map(lambda text: Found(f"encode({literal(text)})", trimmed(text)))
    | st.just(Found(r"'\xFF\xFE'::BLOB", None)),
    "JSON": odd_text().map(lambda text: Found(f"{literal(json.dumps(text, ensure_ascii=False))}::JSON", trimmed(text)))
    | st.integers(0, 10**6).map(lambda n: Found(f"'{n}'::JSON", str(n)))
    | st.just(Found("'null'::JSON", None)),
    "UUID": st.uuids().map(lambda value: Found(f"'{value}'::UUID", str(value))),
}
MOMENTS = st.datetimes(datetime(2023, 12, 1), datetime(2024, 1, 31)) | st.sampled_from(
    [datetime(1970, 1, 1), datetime(1, 1, 1), datetime(9999, 12, 31), datetime(2262, 1, 1), datetime(1989, 12, 31)]
)
OFFSETS = st.sampled_from([timedelta(0), timedelta(hours=5), timedelta(hours=-8), timedelta(hours=5, minutes=30)])


def plausible(moment: datetime) -> datetime | None:
    return moment if START <= moment < END else None


def iso(moment: datetime, offset: timedelta, *, separator: str) -> Found:
    try:
        local = moment.replace(tzinfo=UTC).astimezone(timezone(offset))
    except OverflowError:
        return Found("'never'", None)
    return Found(literal(local.isoformat(separator)), plausible(moment))


def epoch(moment: datetime, unit: int) -> Found:
    microseconds = round((moment - datetime(1970, 1, 1)).total_seconds()) * 10**6
    seconds = plausible(moment.replace(microsecond=0)) if abs(microseconds) >= 10**14 else None
    return Found(f"({microseconds * unit // 10**6})::HUGEINT", seconds if moment.year < 2200 else None)


SHOWN: dict[str, st.SearchStrategy[Found]] = {
    "TIMESTAMP": MOMENTS.map(lambda moment: Found(f"TIMESTAMP '{moment.isoformat(' ')}'", plausible(moment)))
    | st.sampled_from([Found("'infinity'::TIMESTAMP", None), Found("'-infinity'::TIMESTAMP", None)]),
    "TIMESTAMPTZ": MOMENTS.map(lambda moment: Found(f"TIMESTAMPTZ '{moment.isoformat(' ')}+00'", plausible(moment))),
    "DATE": MOMENTS.map(
        lambda moment: Found(f"DATE '{moment.date()}'", plausible(datetime.combine(moment, datetime.min.time())))
    ),
    "VARCHAR": st.builds(iso, MOMENTS, OFFSETS, separator=st.sampled_from("T "))
    | MOMENTS.map(lambda moment: Found(literal(moment.isoformat()), plausible(moment)))
    | st.sampled_from(["", "yesterday", "NaT", "12:00", "2024-13-01", "0"]).map(
        lambda text: Found(literal(text), None)
    ),
    "HUGEINT": st.builds(epoch, MOMENTS, st.sampled_from([1, 10**3, 10**6, 10**9])),
}
CLICKS: dict[str, st.SearchStrategy[Found]] = {
    "BOOLEAN": st.booleans().map(lambda value: Found(str(value), value)),
    "INTEGER": st.integers(-2, 3).map(lambda n: Found(f"({n})::INTEGER", {0: False, 1: True}.get(n))),
    "DOUBLE": st.sampled_from([0.0, 1.0, 0.4, -1.0, math.nan, math.inf]).map(
        lambda x: Found(f"'{x!r}'::DOUBLE", {0.0: False, 1.0: True}.get(x))
    ),
    "VARCHAR": st.sampled_from(
        [
            ("true", True),
            ("FALSE", False),
            ("1", True),
            ("0", False),
            ("1.0", True),
            ("maybe", None),
            ("", None),
            ("-1", None),
        ]
    ).map(lambda pair: Found(literal(pair[0]), pair[1])),
}


@cache
def names_in_our_sql() -> list[str]:
    """Every identifier that occurs in `sql/`, none of which may mean anything as a column of the user's."""
    words: set[str] = set()
    for file in SQL_FOLDER.rglob("*.sql"):
        words |= set(re.findall(r"[A-Za-z_]\w*", re.sub(r"--.*", "", file.read_text(encoding="utf-8"))))
    return sorted(words)


def other_columns(table: str) -> st.SearchStrategy[list[str]]:
    taken = {name.lower() for name in KNOWN_COLUMNS[table]}
    odd = st.sampled_from(["a b", 'a"b', "größe", "1", "SELECT", "c0", "source", "Moment", "features", "reason", "day"])
    names = st.sampled_from(names_in_our_sql()) | odd
    return st.lists(
        names.filter(lambda name: name.lower() not in taken), max_size=4, unique_by=lambda name: name.lower()
    )


@dataclass(frozen=True)
class Data:
    """The rows of a table, in files of one format."""

    table: str
    kind: str
    columns: dict[str, str]
    rows: list[dict[str, Found]]
    others: list[str]


@st.composite
def data_sets(draw: st.DrawFn) -> Data:
    table = draw(st.sampled_from(["impressions", "items", "users"]))
    kinds: dict[str, dict[str, st.SearchStrategy[Found]]] = {
        "impressions": {"user_id": IDS, "item_id": IDS, "shown_at": SHOWN, "clicked": CLICKS},
        "items": {"item_id": IDS},
        "users": {"user_id": IDS},
    }[table]
    columns = {name: draw(st.sampled_from(list(types))) for name, types in kinds.items()}
    row = st.fixed_dictionaries(
        {name: kinds[name][kind] | st.just(Found(f"NULL::{kind}", None)) for name, kind in columns.items()}
    )
    rows = draw(st.lists(row, min_size=1, max_size=6))
    return Data(table, draw(st.sampled_from(["parquet", "csv", "jsonl"])), columns, rows, draw(other_columns(table)))


def write(con: duckdb.DuckDBPyConnection, data: Data, folder: Path) -> Source:
    """Write the files and the SQL that reads them as `twotower init` does."""
    extra = "".join(
        f", 'x{number}' AS \"{name.replace(chr(34), chr(34) * 2)}\"" for number, name in enumerate(data.others)
    )
    selects = [
        "SELECT " + ", ".join(f"{row[name].sql} AS {name}" for name in data.columns) + extra for row in data.rows
    ]
    file = folder / f"{data.table}.{data.kind}"
    option = {"parquet": "FORMAT parquet", "csv": "FORMAT csv, HEADER", "jsonl": "FORMAT json"}[data.kind]
    con.execute(f"COPY ({' UNION ALL '.join(selects)}) TO '{file}' ({option})")
    (folder / f"{data.table}.sql").write_text(f"SELECT * FROM {READERS[data.kind].format(file.name)}", encoding="utf-8")
    return Source("mine", folder, folder)


def exact(data: Data) -> bool:
    """Whether the format keeps every value as it was: CSV and JSON have no decimals, bytes, or 64-bit floats."""
    lossy = {"DOUBLE", "DECIMAL(18, 3)", "BLOB", "JSON", "HUGEINT", "UBIGINT", "BIGINT", "UUID", "DATE"}
    return data.kind == "parquet" or not lossy & set(data.columns.values())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data_sets())
def test_every_row_is_taken_as_meant_or_rejected_with_a_reason(data: Data) -> None:
    note(str(data))
    with tempfile.TemporaryDirectory() as name, duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'; SET threads = 1")
        source = write(con, data, Path(name))
        if data.table == "impressions":
            rejects, others = stage_impressions(con, source, BOUNDS)
            assert sorted(others) == sorted(data.others)
        else:
            rejects = stage_catalogue(con, source, data.table)
        columns = [name for name in ("user_id", "item_id", "shown_at", "clicked") if name in data.columns]
        kept = con.execute(f"SELECT {', '.join(columns)} FROM staged_{data.table}").fetchall()
        assert rejects.rows == len(data.rows)
        assert len(kept) + rejects.rejected == rejects.rows
        assert sum(rejects.reasons.values()) == rejects.rejected
        assert all(rejects.reasons)
        if data.table == "impressions":
            assert con.execute("SELECT count(*) FROM staged_rejected_impressions").fetchone() == (rejects.rejected,)
        else:
            features = con.execute(f"SELECT features FROM staged_{data.table}").fetchall()
            wanted = {name: f"x{number}" for number, name in enumerate(data.others)}
            assert all(row[0] == wanted for row in features)
        if exact(data):
            rows = [tuple(row[name].meant for name in columns) for row in data.rows]
            whole = [row for row in rows if None not in row]
            grain = len(columns) - ("clicked" in columns)
            wanted_rows = {row[:grain] for row in whole}
            assert {row[:grain] for row in kept} == wanted_rows
            assert len(kept) == len(wanted_rows)
