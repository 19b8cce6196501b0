"""Tags of stored predictions: their frequent values come back, one for each prediction and key."""

import numpy as np

from tidemark.store.tag_codes import MAX_KEYS, MAX_VALUES, decode_tags, encode_tags


def test_tags_come_back_for_each_prediction() -> None:
    tags = [{"camera": "7", "site": "a"}, {}, {"camera": "8"}, {"site": "7", "camera": ""}]
    arrays = encode_tags(tags)
    assert all(values.dtype != object for values in arrays.values())
    assert decode_tags(arrays, len(tags)) == tags


def test_predictions_without_tags_take_no_space() -> None:
    assert encode_tags([{}, {}]) == {}
    assert decode_tags({}, 2) == [{}, {}]


def test_the_most_frequent_keys_and_values_are_stored() -> None:
    rare = [{"session": str(number)} for number in range(MAX_VALUES + 50)]
    keys = [{f"key{number}": "x" for number in range(MAX_KEYS)}] * (len(rare) + 1)
    decoded = decode_tags(encode_tags([*rare, *keys, {"session": "149"}]), len(rare) + len(keys) + 1)
    assert "session" not in set().union(*decoded)
    decoded = decode_tags(encode_tags([*rare, {"session": "149"}]), len(rare) + 1)
    assert len(set().union(*(row.values() for row in decoded))) == MAX_VALUES
    assert decoded[149] == decoded[-1] == {"session": "149"}
    assert np.shape(encode_tags(rare)["tag_values"]) == (MAX_VALUES, 2)
