from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from twotower_assets.two_tower.checkpoint import FORMAT_VERSION, CheckpointError, load_checkpoint, save_checkpoint
from twotower_assets.two_tower.towers.embedding import Embedder
from twotower_assets.two_tower.training.loop import train

STRINGS = pa.list_(pa.string())


@pytest.fixture
def saved(rich_market, tmp_path):
    data = rich_market.training_set()
    result = train(data, rich_market.config)
    folder = tmp_path / "checkpoint"
    content_hash = save_checkpoint(folder, result.towers, data, rich_market.config, result.reports, {"run_id": "first"})
    return folder, content_hash, result, data


def test_a_loaded_checkpoint_embeds_exactly_as_the_trained_towers(saved, rich_market) -> None:
    folder, content_hash, result, data = saved
    checkpoint, trained = load_checkpoint(folder), Embedder(result.towers, data.encoder)
    ids, histories = (
        pa.array(["u1", "u15", "new", None]),
        pa.array([["i1"], ["zz"], ["i3", "i4"], None], STRINGS),
    )
    assert (checkpoint.embed_items(rich_market.items) == trained.embed_items(rich_market.items)).all()
    expected = trained.embed_users(ids, histories, rich_market.users)
    assert (checkpoint.embed_users(ids, histories, rich_market.users) == expected).all()
    assert checkpoint.content_hash == content_hash
    assert checkpoint.config == rich_market.config
    assert checkpoint.reports == result.reports
    assert checkpoint.extra == {"run_id": "first"}


def test_a_checkpoint_knows_temperature_popularity_weight_and_counts(saved) -> None:
    checkpoint = load_checkpoint(saved[0])
    data = saved[3]
    assert checkpoint.inverse_temperature == pytest.approx(1 / checkpoint.config.temperature)
    assert checkpoint.trained_popularity_weight == 1.0
    ids = data.encoder.items.ids.ids
    assert checkpoint.clicks.sum() == 300
    assert checkpoint.clicks[1:].tolist() == data.item_counts[1:].tolist()
    assert checkpoint.log_q(ids) == pytest.approx(np.log(data.q[1:]), rel=1e-5)


def test_log_q_of_items_never_clicked_is_that_of_half_a_click(saved) -> None:
    checkpoint = load_checkpoint(saved[0])
    unseen = pa.array(["new", None])
    assert checkpoint.log_q(unseen) == pytest.approx(np.log(0.5 / 300), rel=1e-6)


def test_the_content_hash_ignores_times_and_run_ids_but_not_the_seed(saved, rich_market, tmp_path) -> None:
    _, content_hash, _, data = saved

    def hash_of(market) -> str:
        result = train(market.training_set(), market.config)
        extra = {"run_id": "second"}
        return save_checkpoint(tmp_path / "again", result.towers, data, market.config, result.reports, extra)

    assert hash_of(rich_market) == content_hash
    assert hash_of(rich_market.configured(seed=1)) != content_hash


def test_no_file_is_a_pickle_and_no_other_file_is_left(saved) -> None:
    names = sorted(path.name for path in saved[0].iterdir())
    assert names == [
        "checkpoint.json",
        "encoder.json",
        "items.parquet",
        "training.json",
        "users.parquet",
        "weights.safetensors",
    ]
    # A pickle of protocol 2 or later starts with 0x80, torch's own format with a zip header.
    assert not any(path.read_bytes()[:1] == b"\x80" or path.read_bytes()[:2] == b"PK" for path in saved[0].iterdir())


FILES = ["encoder.json", "items.parquet", "training.json", "users.parquet", "weights.safetensors"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["byte", "truncated", "missing"])
def test_a_damaged_file_is_named(saved, name: str, damage: str) -> None:
    path = saved[0] / name
    written = path.read_bytes()
    middle = len(written) // 2
    if damage == "byte":
        path.write_bytes(written[:middle] + bytes([written[middle] ^ 1]) + written[middle + 1 :])
    elif damage == "truncated":
        path.write_bytes(written[:middle])
    else:
        path.unlink()
    with pytest.raises(CheckpointError, match=rf"{name} .*Restore"):
        load_checkpoint(saved[0])


def rewrite_manifest(folder, **changes) -> None:
    path = folder / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_manifest_that_cannot_be_trusted_is_refused(saved) -> None:
    folder = saved[0]
    rewrite_manifest(folder, content_hash="0" * 64)
    with pytest.raises(CheckpointError, match="content hash that differs from that of its files"):
        load_checkpoint(folder)
    rewrite_manifest(folder, format_version=99)
    with pytest.raises(CheckpointError, match="format version 99"):
        load_checkpoint(folder)
    for text, problem in (("[]", "not hold a JSON object"), ("{", "is not valid JSON")):
        (folder / "checkpoint.json").write_text(text)
        with pytest.raises(CheckpointError, match=problem):
            load_checkpoint(folder)
    (folder / "checkpoint.json").unlink()
    with pytest.raises(CheckpointError, match=r"checkpoint\.json is missing"):
        load_checkpoint(folder)


def test_a_checkpoint_with_the_former_name_of_the_uncorrected_treatment_loads(logged_market, tmp_path) -> None:
    negatives = [{"source": "in_batch"}, {"source": "category", "per_positive": 1, "treatment": "uncorrected"}]
    market = logged_market.configured(negatives=negatives, epochs=1)
    data = market.training_set()
    result = train(data, market.config)
    save_checkpoint(tmp_path, result.towers, data, market.config)
    encoder = tmp_path / "encoder.json"
    encoder.write_text(encoder.read_text().replace('"treatment": "uncorrected"', '"treatment": "margin"'))
    assert '"margin"' in encoder.read_text()
    digests = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in FILES}
    hashed = {"format_version": FORMAT_VERSION} | {
        name: digest for name, digest in digests.items() if name != "training.json"
    }
    content_hash = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()
    rewrite_manifest(tmp_path, sha256=digests, content_hash=content_hash)
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == market.config
    assert not loaded.trained_weight_is_known


def test_files_of_two_checkpoints_do_not_mix(saved, market, tmp_path) -> None:
    folder = saved[0]
    other = tmp_path / "other"
    result = train(market.training_set(), market.config)
    save_checkpoint(other, result.towers, market.training_set(), market.config)
    shutil.copy(other / "weights.safetensors", folder / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"weights\.safetensors has other bytes"):
        load_checkpoint(folder)


def test_weights_that_do_not_fit_the_vocabularies_are_refused(saved, market, tmp_path) -> None:
    _, _, result, _ = saved
    save_checkpoint(tmp_path / "mixed", result.towers, market.training_set(), market.config)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors does not fit"):
        load_checkpoint(tmp_path / "mixed")
