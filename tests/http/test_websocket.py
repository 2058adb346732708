"""Close frames, as written by hand."""

import pytest
from websockets.frames import Close, Frame, Opcode

from keypool_cli.http.websocket import LONGEST_REASON, frame


def read(data):
    """Code and reason of a frame."""
    assert data[0] == 0x80 | Opcode.CLOSE
    assert data[1] == len(data) - 2
    assert data[1] <= 125
    return Close.parse(data[2:])


@pytest.mark.parametrize("reason", ["", "quota", "نفدت الحصة"])
def test_code_and_reason_are_told(reason):
    assert frame(1011, reason) == Frame(Opcode.CLOSE, Close(1011, reason).serialize()).serialize(
        mask=False
    )


@pytest.mark.parametrize("letter", ["a", "é", "ص", "😀"])
def test_a_long_reason_is_cut_between_characters(letter):
    told = read(frame(1008, letter * 200))
    assert told.code == 1008
    assert set(told.reason) == {letter}
    assert LONGEST_REASON - 3 <= len(told.reason.encode()) <= LONGEST_REASON


@pytest.mark.parametrize("code", [1004, 1005, 1006, 1015])
def test_codes_that_stand_for_nothing_sent_become_an_empty_frame(code):
    assert frame(code, "x") == b"\x88\x00"
