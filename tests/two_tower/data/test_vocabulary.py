import numpy as np
import pyarrow as pa
import pytest

from twotower_assets.two_tower.data.vocabulary import Vocabulary


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.from_values(pa.chunked_array([["b", "a", None], ["c", "a"]]))


def test_distinct_values_have_indices_from_one_in_sorted_order(vocabulary: Vocabulary) -> None:
    assert vocabulary.size == 4
    assert vocabulary.encode(pa.array(["a", "b", "c"])).tolist() == [1, 2, 3]


def test_unknown_ids_and_null_share_index_zero(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode(pa.array(["z", None, "c"])).tolist() == [0, 0, 3]
    assert vocabulary.encode(pa.array([None, None])).tolist() == [0, 0]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["b", "q"], pa.large_string()),
        pa.chunked_array([["b"], [], ["q"]], pa.string()),
        pa.array(["b", "q"]).dictionary_encode(),
    ],
)
def test_every_arrow_form_of_strings_is_encoded_alike(vocabulary: Vocabulary, column: pa.Array) -> None:
    encoded = vocabulary.encode(column)
    assert encoded.dtype == np.int64
    assert encoded.tolist() == [2, 0]


def test_an_empty_column_gives_an_empty_array(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode(pa.chunked_array([], pa.string())).tolist() == []
    assert len(vocabulary.encode_lists(pa.chunked_array([], pa.list_(pa.string())))) == 0


def test_lists_are_encoded_value_by_value_and_null_is_empty(vocabulary: Vocabulary) -> None:
    lists = pa.array([["x"], ["a", "z", None], None, [], ["c", "b"]], pa.list_(pa.string()))
    for column in (lists.slice(1), pa.chunked_array([lists.slice(1, 2), lists.slice(3)])):
        encoded = vocabulary.encode_lists(column)
        assert encoded.offsets.tolist() == [0, 3, 3, 3, 5]
        assert encoded.values.tolist() == [1, 0, 0, 3, 2]


def test_repeated_or_null_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        Vocabulary(pa.array(["a", "a"]))
    with pytest.raises(ValueError, match="null"):
        Vocabulary(pa.array(["a", None]))
