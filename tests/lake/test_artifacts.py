"""Artifacts: published whole or not at all, named by their content, never changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from twotower_assets.lake.artifacts import ArtifactError, ArtifactInput, ArtifactStore, Provenance, TableInput

MADE = Provenance(
    model_day=date(2024, 1, 5),
    lake_snapshot=7,
    code_version="abc",
    run_id="run",
    tables=(TableInput("training_pairs", 7, "2024-01-01", "2024-01-05"),),
    artifacts=(ArtifactInput("tower_checkpoint", "2024-01-05-feed"),),
    recipe="logq",
    seed=3,
)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def writing(content: bytes, name: str = "weights") -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / name).write_bytes(content)

    return build


def test_a_version_holds_what_was_written_and_says_what_it_was_made_from(store: ArtifactStore) -> None:
    made = store.publish("ann_index", writing(b"one"), MADE)
    found = store.open("ann_index", made.version)
    assert found == made
    assert (found.folder / "deep" / "weights").read_bytes() == b"one"
    assert found.manifest["model_day"] == "2024-01-05"
    assert found.manifest["lake_snapshot"] == 7
    assert (found.manifest["recipe"], found.manifest["seed"]) == ("logq", 3)
    assert found.manifest["tables"] == [
        {"table": "training_pairs", "snapshot": 7, "first_day": "2024-01-01", "last_day": "2024-01-05"}
    ]
    assert found.manifest["artifacts"] == [{"asset": "tower_checkpoint", "version": "2024-01-05-feed"}]
    assert found.content_hash.startswith(found.version.removeprefix("2024-01-05-"))


def test_a_build_that_fails_leaves_nothing_behind(store: ArtifactStore) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise RuntimeError("training fell over")

    with pytest.raises(RuntimeError, match="training fell over"):
        store.publish("ann_index", build, MADE)
    assert [path for path in store.folder.rglob("*") if path.name != "ann_index"] == []


def test_a_disk_that_refuses_is_a_clear_error_and_leaves_nothing_behind(store: ArtifactStore) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(ArtifactError, match=r"ann_index.*No space left on device"):
        store.publish("ann_index", build, MADE)
    assert [path for path in store.folder.rglob("*") if path.name != "ann_index"] == []


def test_a_version_is_not_there_before_it_is_whole(store: ArtifactStore) -> None:
    seen: list[Path] = []

    def build(folder: Path) -> None:
        (folder / "weights").write_bytes(b"one")
        seen.extend(path for path in (store.folder / "ann_index").iterdir() if not path.name.startswith("."))

    store.publish("ann_index", build, MADE)
    assert seen == []


def test_the_same_content_is_the_same_version_whose_manifest_tells_of_the_newest_making(store: ArtifactStore) -> None:
    first = store.publish("ann_index", writing(b"one"), MADE)
    again = store.publish("ann_index", writing(b"one"), Provenance(**{**vars(MADE), "run_id": "later run"}))
    assert again.version == first.version
    assert again.manifest["run_id"] == "later run"
    assert [path.name for path in (store.folder / "ann_index").iterdir()] == [first.version]


@pytest.mark.parametrize("other", [writing(b"onE"), writing(b"one", "renamed"), writing(b"")])
def test_another_byte_or_another_name_is_another_version(store: ArtifactStore, other: Callable[[Path], None]) -> None:
    first, second = store.publish("ann_index", writing(b"one"), MADE), store.publish("ann_index", other, MADE)
    assert first.content_hash != second.content_hash
    assert first.version != second.version
    assert (first.folder / "deep" / "weights").read_bytes() == b"one"


def test_a_build_may_state_the_hash_of_its_content(store: ArtifactStore) -> None:
    made = store.publish("tower_checkpoint", lambda folder: "cafe" * 16, MADE)
    assert (made.content_hash, made.version) == ("cafe" * 16, "2024-01-05-cafecafecafe")


def test_opening_a_version_that_is_gone_says_what_to_do(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match=r"ann_index 2024-01-05-none is gone.*Materialize"):
        store.open("ann_index", "2024-01-05-none")


@pytest.mark.parametrize("damage", [b"{ half a manif", b"\xff\xfe\x00", b"[]"])
def test_a_damaged_manifest_is_a_clear_error(store: ArtifactStore, damage: bytes) -> None:
    made = store.publish("ann_index", writing(b"one"), MADE)
    (made.folder / "manifest.json").write_bytes(damage)
    with pytest.raises(ArtifactError, match=r"manifest .*cannot be read"):
        store.open("ann_index", made.version)


def test_every_changed_byte_of_a_manifest_is_noticed(store: ArtifactStore) -> None:
    made = store.publish("ann_index", writing(b"one"), MADE)
    file = made.folder / "manifest.json"
    whole = file.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        file.write_bytes(changed)
        with pytest.raises(ArtifactError, match=r"manifest .*cannot be read|was renamed or swapped"):
            store.open("ann_index", made.version)
    file.write_bytes(whole)
    assert store.open("ann_index", made.version).manifest == made.manifest


def test_a_manifest_of_an_earlier_release_is_read_without_a_hash_of_its_own(store: ArtifactStore) -> None:
    made = store.publish("ann_index", writing(b"one"), MADE)
    earlier = {name: value for name, value in made.manifest.items() if name != "manifest_hash"}
    file = made.folder / "manifest.json"
    file.write_text(json.dumps(earlier), encoding="utf-8")
    assert store.open("ann_index", made.version).manifest == earlier
    file.write_text(json.dumps(earlier | {"version": "2024-01-05-000000000000"}), encoding="utf-8")
    with pytest.raises(ArtifactError, match="do not agree"):
        store.open("ann_index", made.version)


def test_folders_that_changed_places_are_noticed(store: ArtifactStore) -> None:
    one, other = (store.publish("ann_index", writing(content), MADE) for content in (b"one", b"other"))
    one.folder.rename(store.folder / "aside")
    other.folder.rename(one.folder)
    with pytest.raises(ArtifactError, match=f"holds ann_index {other.version}: it was renamed or swapped"):
        store.open("ann_index", one.version)


def test_scratch_outlives_an_interruption_until_it_is_discarded(store: ArtifactStore) -> None:
    folder = store.scratch("tower_checkpoint", "2024-01-05")
    folder.mkdir(parents=True)
    (folder / "state").write_bytes(b"epoch 3")
    store.publish("tower_checkpoint", writing(b"one"), MADE)
    assert (store.scratch("tower_checkpoint", "2024-01-05") / "state").read_bytes() == b"epoch 3"
    store.discard_scratch("tower_checkpoint", "2024-01-05")
    store.discard_scratch("tower_checkpoint", "2024-01-05")
    assert not folder.exists()
