"""Which scripted fault hits which call."""

import pytest

from keypool_cli.simulator.faults import Fault, FaultBook, Kind, Target

CALL = Target("generate", "k1", "p1", "m1")


def kinds(book, target=CALL, now_ms=0):
    return [fault.kind for fault in book.take(target, now_ms)]


def scripted(*faults):
    book = FaultBook()
    for fault in faults:
        book.add(fault, 0)
    return book


@pytest.mark.parametrize(
    ("fault", "hits"),
    [
        pytest.param({}, [1, 0, 0], id="one call when nothing is said"),
        pytest.param({"times": 2}, [1, 1, 0], id="as many calls as wanted"),
        pytest.param({"after": 1}, [0, 1, 0], id="some are let pass first"),
    ],
)
def test_how_often_a_fault_hits(fault, hits):
    book = scripted(Fault(kind=Kind.RPM, **fault))
    assert [len(kinds(book)) for _ in hits] == hits


@pytest.mark.parametrize(
    ("fault", "hits"),
    [
        pytest.param({"key": "k1"}, True, id="its key"),
        pytest.param({"key": "k2"}, False, id="another key"),
        pytest.param({"project": "p2"}, False, id="another project"),
        pytest.param({"model": "m2"}, False, id="another model"),
        pytest.param({"key": "k1", "project": "p1", "model": "m1"}, True, id="all of them"),
        pytest.param({"on": "count"}, False, id="another kind of call"),
        pytest.param({"on": "any"}, True, id="any kind of call"),
    ],
)
def test_whose_calls_a_fault_hits(fault, hits):
    assert kinds(scripted(Fault(kind=Kind.RPM, **fault))) == [Kind.RPM] * hits


def test_a_call_that_does_not_match_uses_nothing_up():
    book = scripted(Fault(kind=Kind.RPM, key="k2"))
    assert kinds(book) == []
    assert kinds(book, Target("generate", "k2", "p1", "m1")) == [Kind.RPM]


def test_a_fault_for_a_while_hits_every_call_until_it_ends():
    book = scripted(Fault(kind=Kind.OVERLOADED, for_s=2))
    assert [len(kinds(book, now_ms=at_ms)) for at_ms in (0, 1000, 1999, 2000)] == [1, 1, 1, 0]


def test_refusals_hit_one_call_each_and_shaping_joins_them():
    book = scripted(Fault(kind=Kind.RPM), Fault(kind=Kind.SLOW), Fault(kind=Kind.RPD))
    assert kinds(book) == [Kind.RPM, Kind.SLOW]
    assert kinds(book) == [Kind.RPD]
    assert kinds(book) == []


def test_what_is_left_is_shown():
    book = scripted(Fault(kind=Kind.RPM, times=2))
    kinds(book)
    assert [script.left for script in book.current(0)] == [1]
    kinds(book)
    assert book.current(0) == []
