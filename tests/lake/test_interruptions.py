"""What the lake looks like after a writer was killed, while many write at once, and on a full disk."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from twotower_assets.lake.lake import CommitInfo, Lake, LakeError, Replacement, writes_of
from twotower_assets.lake.queries import stage

PutDay = Callable[..., int]
UsersByDay = Callable[..., dict[int, list[str]]]

STUCK_WRITER = """
import sys, time
from datetime import date
from pathlib import Path
import duckdb
from twotower_assets.lake.lake import CommitInfo, Lake, Replacement
from twotower_assets.lake.queries import stage

def wait():
    print("deleted and inserted", flush=True)
    time.sleep(60)
    return 1

lake = Lake(Path(sys.argv[1]), "tiny", threads=1)
day = date(2024, 1, 1)
with lake.writer() as con:
    con.create_function("wait", wait, [], duckdb.sqltypes.INTEGER, side_effects=True)
    stage(con, "staged", "SELECT * REPLACE ('killed' AS user_id) FROM lake.impressions")
    lake.commit(
        con,
        [Replacement("impressions", "staged", (day, day))],
        CommitInfo("impressions"),
        views=["CREATE TEMP TABLE waited AS SELECT wait()"],
    )
"""

BUSY_WRITER = """
import sys
from datetime import date
from pathlib import Path
from twotower_assets.lake.lake import CommitInfo, Lake, Replacement
from twotower_assets.lake.queries import stage

lake = Lake(Path(sys.argv[1]), "tiny", threads=1)
name, own_day = sys.argv[2], int(sys.argv[3])
with lake.writer() as con:
    for day in (date(2024, 1, own_day), date(2024, 1, own_day + 1), date(2024, 1, 31)):
        rows = "SELECT * REPLACE ($day AS day, $user AS user_id) FROM lake.impressions WHERE day = '2024-01-30'"
        stage(con, "staged", rows, {"day": day, "user": name})
        replacement = Replacement("impressions", "staged", (day, day))
        lake.commit(con, [replacement], CommitInfo("impressions", name, (day, day)))
"""


def test_a_writer_killed_in_the_middle_leaves_the_previous_rows_and_the_next_commit_lands(
    lake: Lake, put_day: PutDay, users_by_day: UsersByDay
) -> None:
    put_day(date(2024, 1, 1), "ann", 2)
    writer = subprocess.Popen([sys.executable, "-c", STUCK_WRITER, str(lake.folder)], stdout=subprocess.PIPE, text=True)
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "deleted and inserted\n"
        writer.send_signal(signal.SIGKILL)
    assert users_by_day() == {1: ["ann", "ann"]}
    put_day(date(2024, 1, 1), "bob", 1)
    assert users_by_day() == {1: ["bob"]}


@pytest.mark.slow
def test_many_processes_replace_partitions_at_once_and_a_reader_sees_whole_ones_only(
    lake: Lake, put_day: PutDay, users_by_day: UsersByDay
) -> None:
    rows = 20
    for day in (1, 3, 5, 30, 31):
        put_day(date(2024, 1, day), "start", rows)
    writers = [
        subprocess.Popen([sys.executable, "-c", BUSY_WRITER, str(lake.folder), name, str(day)])
        for name, day in (("a", 1), ("b", 3), ("c", 5))
    ]
    reads = []
    while any(writer.poll() is None for writer in writers):
        reads.append(users_by_day())
        time.sleep(0.2)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    for read in [*reads, users_by_day()]:
        assert all(len(users) == rows and len(set(users)) == 1 for users in read.values())
    after = {day: users[0] for day, users in users_by_day().items()}
    assert after.pop(31) in {"a", "b", "c"}
    assert after == {1: "a", 2: "a", 3: "b", 4: "b", 5: "c", 6: "c", 30: "start"}
    with lake.reader() as con:
        runs = [write["run_id"] for write in writes_of(con, "impressions")]
    assert sorted(run for run in runs if run) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3


@pytest.mark.slow
def test_processes_that_find_no_lake_may_create_it_at_once(tmp_path: Path) -> None:
    opening = (
        "import sys; from pathlib import Path; from twotower_assets.lake.lake import Lake; "
        "Lake(Path(sys.argv[1]), 'tiny', threads=1).writer().__enter__()"
    )
    openers = [subprocess.Popen([sys.executable, "-c", opening, str(tmp_path)]) for _ in range(3)]
    assert [opener.wait() for opener in openers] == [0, 0, 0]
    with Lake(tmp_path, "tiny").reader() as con:
        assert con.execute("SELECT dataset FROM lake_identity").fetchall() == [("tiny",)]


def test_on_a_full_disk_the_commit_fails_clearly_and_the_old_rows_stay(lake: Lake, small_disk: Path) -> None:
    lake = replace(lake, folder=small_disk / "lake")
    many = "SELECT uuid()::VARCHAR AS user_id, NULL AS features FROM range(300000)"
    with lake.writer() as con:
        stage(con, "staged", "SELECT 'ann' AS user_id, NULL AS features")
        lake.commit(con, [Replacement("users", "staged")], CommitInfo("users"))
        stage(con, "staged", many)
        with pytest.raises(LakeError, match=r"left the rows as they were: .*No space left"):
            lake.commit(con, [Replacement("users", "staged")], CommitInfo("users"))
    with lake.reader() as con:
        assert con.execute("SELECT user_id FROM users").fetchall() == [("ann",)]


def test_a_lake_that_found_no_room_for_its_tables_is_finished_later(lake: Lake, small_disk: Path) -> None:
    lake = replace(lake, folder=small_disk / "lake")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes((4096 - 192) * 1024))
    with pytest.raises(LakeError, match=r"cannot create the tables|cannot open the lake"), lake.writer():
        pass
    with pytest.raises(LakeError), lake.reader():
        pass
    ballast.unlink()
    with lake.writer():
        pass
    with lake.reader() as con:
        assert con.execute("FROM users").fetchall() == []
