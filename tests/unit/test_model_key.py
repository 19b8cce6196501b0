from tidemark.model_key import ModelKey


def test_a_key_is_written_and_read_as_name_and_version() -> None:
    key = ModelKey.parse("digits.v2:2026-01")
    assert key == ModelKey("digits.v2", "2026-01")
    assert f"{key}" == str(key) == "digits.v2:2026-01"
