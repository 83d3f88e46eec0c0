from __future__ import annotations

import builtins
import re

import pytest

from embedkit import errors

ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]


@pytest.mark.parametrize("error", ALL)
def test_the_drawn_tree_is_the_real_one(error):
    """Each error stands in the drawing, with the built-in that it also is, below its parent."""
    lines = errors.__doc__.splitlines()
    [number] = [n for n, line in enumerate(lines) if re.search(rf"(^ *|─ ){error.__name__}\b", line)]
    drawn = re.findall(r"\((\w+)\)", lines[number])
    assert [base.__name__ for base in error.__mro__ if base.__name__ in drawn] == drawn
    assert all(issubclass(error, getattr(builtins, name)) for name in drawn)
    depth = lines[number].index(error.__name__)
    if error is errors.EmbedkitError:
        assert depth == 4
        return
    above = [line for line in lines[:number] if re.search(r"\w+Error", line)]
    parent = next(
        name.group() for line in reversed(above) if (name := re.search(r"\w+Error", line)) and name.start() < depth
    )
    assert error.__bases__[0].__name__ == parent


def test_messages_are_shown_as_written():
    assert str(errors.MissingRowsError("2 rows are missing")) == "2 rows are missing"
    assert str(errors.StoreWriteError("no space")) == "no space"


def test_a_message_is_one_line_also_where_a_library_said_several():
    assert str(errors.ModelFileFormatError("cannot be loaded (node array:\n- expected: a\r\n- got: b); fit it")) == (
        "cannot be loaded (node array: - expected: a - got: b); fit it"
    )
    assert str(errors.SourceError("two  spaces.jpg")) == "two  spaces.jpg"
