"""The table of what the papers say: its page is made from it, and what it names exists."""

import re

import pytest
from conftest import ROOT

from benchmarks.paper.coverage import DIFFERS, NO, PART, YES, page, rows


def test_the_page_is_that_of_the_table():
    assert (ROOT / "docs" / "papers.md").read_text() == page()


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]}-{row[1]}"[:60])
def test_what_a_row_names_exists(row):
    place, what, status, where, test, remark = row
    assert place and what and status in (YES, DIFFERS, PART, NO)
    if status == NO:
        assert not where and not test and remark  # the reason
        return
    assert (ROOT / where).is_file()
    assert status == YES or remark
    path, _, name = test.partition("::")
    text = (ROOT / path).read_text()
    assert not name or re.search(rf"^def {name}\(", text, re.M), test


def test_rows_are_told_apart_and_none_is_short_of_a_paper():
    keys = [(place, what) for place, what, *_ in rows()]
    assert len(keys) == len(set(keys)) > 100
