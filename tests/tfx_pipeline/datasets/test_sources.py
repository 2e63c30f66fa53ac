"""Who wrote a field: read back as written, the derived goes with what it is from, and what is wrong is named."""

import json

import pytest

from tfx_pipeline.contract import ContractError
from tfx_pipeline.datasets.sources import SOURCES, Source, not_on_day_zero, read_sources, write_sources

FIELDS = {
    "audio_schlüssel": Source("machine"),
    "attribute_tags": Source("listeners"),
    "attribute_tag_words": Source(derived_from=("attribute_tags",)),
    "lyric_vector": Source("machine", ("attribute_tag_words", "audio_schlüssel")),  # at the end of a chain
    "attribute_facts": Source("editors"),
    "attribute_artist": Source("label"),
}


def test_what_is_written_is_read(tmp_path):
    write_sources(tmp_path, FIELDS)
    assert read_sources(tmp_path) == FIELDS
    assert not_on_day_zero(FIELDS) == {"attribute_tags", "attribute_tag_words", "lyric_vector", "attribute_facts"}
    assert not_on_day_zero({}) == frozenset()
    (tmp_path / SOURCES).unlink()
    assert read_sources(tmp_path) is None


BROKEN = {
    "{": ["expected JSON"],
    "[1]": ["expected an object of fields", "Received: list"],
    '{"a": {}}': ["for 'a'", "Received: {}"],
    '{"a": {"written_by": "me"}}': ["`written_by` of 'a' as one of label, machine, listeners, editors", "'me'"],
    '{"a": {"derived_from": "b"}}': ["`derived_from` of 'a' as a list of fields", "'b'"],
    '{"a": {"derived_from": ["b"]}}': ["fields that the file has, in `derived_from` of 'a'", "Received: b"],
    '{"a": {"written_by": "label", "more": 1}}': ["an object of derived_from and written_by for 'a'"],
}


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_wrong_is_named(tmp_path, text):
    (tmp_path / SOURCES).write_text(text)
    with pytest.raises(ContractError) as error:
        read_sources(tmp_path)
    for words in [str(tmp_path / SOURCES), "expected", *BROKEN[text]]:
        assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_file_is_one_that_people_edit(tmp_path):
    write_sources(tmp_path, FIELDS)
    text = (tmp_path / SOURCES).read_text(encoding="utf-8")
    assert json.loads(text)["attribute_tags"] == {"written_by": "listeners"} and "audio_schlüssel" in text
