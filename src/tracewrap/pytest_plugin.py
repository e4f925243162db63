"""For pytest: the fixture ``tracewrap_calls``, the calls that the program under test made. In conftest.py:

    pytest_plugins = ["tracewrap.pytest_plugin"]

and in a test:

    def test_one_question_is_one_call(tracewrap_calls):
        program.answer("why?")
        (call,) = tracewrap_calls()
        assert (call.request_model, call.usage.output_tokens) == ("gpt-4o-mini", 9)
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tracewrap.testing import Recording, recording_all


@pytest.fixture
def tracewrap_calls() -> Iterator[Recording]:
    """The calls of every client during the test, recorded in memory: call it for the list. Nothing reaches a pipeline of the program's."""
    with recording_all() as calls:
        yield calls
