"""The frequent tag values of stored predictions as arrays: one code for each prediction and key."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_KEYS = 16  # tag keys that are stored, those of the most predictions
MAX_VALUES = 100  # values of a key that are stored, the most frequent; the others are as if the tag was missing
MISSING = -1  # code of a prediction without one of the stored values of a key

Tags = Sequence[Mapping[str, str]]


def encode_tags(tags: Tags) -> dict[str, NDArray[Any]]:
    """Return the tags of predictions as arrays; none where no prediction has any.

    Returns
    -------
    dict
        `tag_values`, str (q, 2), pairs of a key and a value; `tag_codes`, int16 (m, keys), the index of each
        prediction's value of a key among the pairs, `MISSING` where it has none of them.
    """
    counts = Counter(pair for row in tags for pair in row.items())
    of_key: Counter[str] = Counter()
    for (key, _), count in counts.items():
        of_key[key] += count
    keys = [key for key, _ in sorted(of_key.items(), key=lambda item: (-item[1], item[0]))[:MAX_KEYS]]
    if not keys:
        return {}
    pairs: list[tuple[str, str]] = []
    codes = np.full((len(tags), len(keys)), MISSING, dtype=np.int16)
    for column, key in enumerate(keys):
        values = sorted((pair for pair in counts if pair[0] == key), key=lambda pair: (-counts[pair], pair))
        code_of = {value: len(pairs) + place for place, (_, value) in enumerate(values[:MAX_VALUES])}
        pairs += values[:MAX_VALUES]
        codes[:, column] = [code_of.get(row.get(key, ""), MISSING) if key in row else MISSING for row in tags]
    return {"tag_values": np.array(pairs, dtype=np.str_).reshape(-1, 2), "tag_codes": codes}


def decode_tags(arrays: Mapping[str, NDArray[Any]], count: int) -> list[dict[str, str]]:
    """Return the tags of `count` predictions that `encode_tags` stored; empty ones where there are none."""
    if "tag_codes" not in arrays:
        return [{} for _ in range(count)]
    pairs = [(str(key), str(value)) for key, value in arrays["tag_values"].tolist()]
    return [dict(pairs[code] for code in row if code != MISSING) for row in arrays["tag_codes"].tolist()]
