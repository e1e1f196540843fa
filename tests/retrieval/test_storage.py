import json

import faiss
import numpy as np
import pytest

from twotower_assets.retrieval.index import ItemIndexError
from twotower_assets.retrieval.storage import load_index, save_index


@pytest.fixture
def saved(build, tmp_path):
    save_index(build("Flat"), tmp_path / "index")
    return tmp_path / "index"


def rewrite(folder, **changes):
    path = folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_index_comes_back_as_it_was(index, catalogue, tmp_path):
    save_index(index, tmp_path)
    loaded = load_index(tmp_path)
    assert len(loaded) == len(index) == 1500
    weights = np.linspace(0, 1, len(catalogue.users))
    for before, after in zip(
        index.search(catalogue.users, 30, weights), loaded.search(catalogue.users, 30, weights), strict=True
    ):
        assert np.array_equal(before, after)
    assert np.array_equal(loaded.similar_items(3, 5)[1], index.similar_items(3, 5)[1])
    for name in ("item_ids", "dimension", "geometry", "factory", "search_depth", "trained_popularity_weight"):
        assert getattr(loaded, name) == getattr(index, name)


def test_every_index_is_written_the_same_twice(index, tmp_path):
    for folder in ("a", "b"):
        save_index(index, tmp_path / folder)
    for name in ("index.faiss", "item_ids.json", "index.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_the_builder_keeps_with_it_comes_back(build, tmp_path):
    save_index(build(extra={"model_version": "2024-05-01", "γ₀": 1}), tmp_path)
    assert load_index(tmp_path).extra == {"model_version": "2024-05-01", "γ₀": 1}


def test_a_depth_chosen_at_building_comes_back(build, tmp_path):
    save_index(build("IVF16,Flat", search_depth=3), tmp_path)
    assert load_index(tmp_path).search_depth == 3


def test_what_is_not_json_cannot_be_kept(build, tmp_path):
    with pytest.raises(ItemIndexError, match="JSON values"):
        save_index(build(extra={"x": object()}), tmp_path)
    with pytest.raises(ItemIndexError, match=r"index\.json is missing"):
        load_index(tmp_path)


def test_an_interrupted_write_over_another_index_does_not_load(saved, build, monkeypatch):
    def interrupted(index, path):
        raise RuntimeError("disk full")

    monkeypatch.setattr(faiss, "write_index", interrupted)
    with pytest.raises(ItemIndexError, match="disk full"):
        save_index(build(), saved)
    with pytest.raises(ItemIndexError, match="not completely"):
        load_index(saved)


@pytest.mark.parametrize("name", ["index.faiss", "item_ids.json", "index.json"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(ItemIndexError, match=rf"{name} is missing.*build the index again"):
        load_index(saved)


def test_ids_of_another_index_are_refused(saved, build, catalogue, tmp_path):
    save_index(build(item_ids=catalogue.ids[::-1]), tmp_path / "other")
    (saved / "item_ids.json").write_bytes((tmp_path / "other" / "item_ids.json").read_bytes())
    with pytest.raises(ItemIndexError, match=r"item_ids\.json is not the file"):
        load_index(saved)


def test_a_corrupted_index_is_refused(saved):
    content = bytearray((saved / "index.faiss").read_bytes())
    content[len(content) // 2] ^= 1
    (saved / "index.faiss").write_bytes(content)
    with pytest.raises(ItemIndexError, match=r"index\.faiss is not the file"):
        load_index(saved)


def hashes(folder):
    from hashlib import sha256

    return {name: sha256((folder / name).read_bytes()).hexdigest() for name in ("index.faiss", "item_ids.json")}


def test_counts_that_do_not_agree_are_refused_even_with_matching_hashes(saved):
    ids = json.loads((saved / "item_ids.json").read_text())
    (saved / "item_ids.json").write_text(json.dumps(ids[:-1]))
    rewrite(saved, sha256=hashes(saved))
    with pytest.raises(ItemIndexError, match="1499 ids and 1500 vectors"):
        load_index(saved)


def test_a_file_that_faiss_cannot_read_is_named(saved):
    (saved / "index.faiss").write_bytes(b"nonsense")
    rewrite(saved, sha256=hashes(saved))
    with pytest.raises(ItemIndexError, match=r"cannot read .*index\.faiss"):
        load_index(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "many"}, "size"),
        ({"factory": None, "geometry": None}, "geometry, factory"),
        ({"geometry": {"scale": 1.0}}, "another geometry"),
        ({"sha256": {}}, "sha256"),
        ({"format": 1}, "format 1"),
        ({"dimension": 3}, "says 1500 of dimension 3"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(saved, changes, message):
    rewrite(saved, **changes)
    with pytest.raises(ItemIndexError, match=message):
        load_index(saved)


def as_format_2(folder, **extra):
    """The description as it was when γ₀ was in `extra`."""
    path = folder / "index.json"
    description = json.loads(path.read_text())
    for name in ("trained_popularity_weight", "trained_weight_is_known"):
        del description[name]
    path.write_text(json.dumps(description | {"format": 2, "extra": extra}))


def test_an_index_of_before_the_weight_had_a_field_comes_back_with_it(saved):
    as_format_2(saved, model_version="v", trained_popularity_weight=0.25, trained_weight_is_known=False)
    loaded = load_index(saved)
    assert (loaded.trained_popularity_weight, loaded.trained_weight_is_known) == (0.25, False)
    assert loaded.extra == {"model_version": "v"}


def test_an_index_that_does_not_know_its_trained_weight_is_refused(saved):
    as_format_2(saved, model_version="v")
    with pytest.raises(ItemIndexError, match=r"lacks.* trained_popularity_weight.*build the index again"):
        load_index(saved)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_description_that_is_no_object_is_refused(saved, text):
    (saved / "index.json").write_text(text)
    with pytest.raises(ItemIndexError, match=r"index\.json"):
        load_index(saved)
