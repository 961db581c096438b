"""What becomes of a message that was found: one decision."""

from __future__ import annotations

from dataclasses import asdict, fields
from itertools import product

import pytest

from vaultembed.importing.writing import Facts, decide

HERE = {"is_here": True}
EXTRACT = {"is_extract": True}
NEWS = {**HERE, **EXTRACT, "was_read": True, "says_something_else": True, "is_at_place": True}
NAMESAKE = {"is_namesake": True, "namesake_is_its_own": True}


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        ({}, "add"),
        (HERE, "stands"),
        ({**HERE, "is_at_place": True}, "stands"),
        ({**HERE, "is_deleted": True}, "stays deleted"),
        # a draft that was edited
        (NAMESAKE, "edit"),
        # its older text is still somewhere, or a person has deleted it
        ({**NAMESAKE, "namesake_is_its_own": False}, "add"),
        # a file name that was used again, for other mail
        ({"namesake_is_its_own": True, "namesake_is_raw": True}, "add"),
        # mail, also where it is empty, is worth as much as mail
        ({**NAMESAKE, "namesake_is_raw": True}, "edit"),
        # what a program kept of a mail
        (EXTRACT, "add"),
        ({**EXTRACT, **NAMESAKE}, "edit"),
        ({**EXTRACT, **NAMESAKE, "namesake_is_raw": True}, "keep better"),
        ({**EXTRACT, **NAMESAKE, "empties": True}, "keep better"),
        ({**EXTRACT, **NAMESAKE, "namesake_is_its_own": False, "empties": True}, "keep better"),
        ({**HERE, **EXTRACT}, "stands"),
        (NEWS, "renew"),
        ({**NEWS, "was_read": False}, "stands"),
        ({**NEWS, "says_something_else": False}, "stands"),
        ({**NEWS, "is_at_place": False}, "stands"),
        ({**NEWS, "empties": True}, "stands"),
        ({**NEWS, "is_deleted": True}, "stays deleted"),
        # the mail itself
        ({**HERE, "is_whole": True}, "renew"),
        ({**HERE, "is_whole": True, "is_deleted": True}, "stays deleted"),
    ],
)
def test_what_becomes_of_a_message(facts: dict[str, bool], step: str) -> None:
    assert decide(Facts(**facts)) == step


def test_nothing_that_is_here_is_written_over_but_by_what_took_its_place() -> None:
    for values in product((False, True), repeat=len(fields(Facts))):
        facts = Facts(**dict(zip(asdict(Facts()), values, strict=True)))
        step = decide(facts)
        assert (step == "stays deleted") == (facts.is_here and facts.is_deleted)
        assert step != "add" or not facts.is_here
        if step in ("renew", "edit"):
            is_namesake = facts.is_namesake and facts.namesake_is_its_own
            assert (facts.is_at_place and facts.was_read) or is_namesake or facts.is_whole
            assert not (facts.is_extract and facts.empties) or not facts.is_namesake or facts.is_whole
