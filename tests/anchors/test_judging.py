"""What an anchor says is believed where the log key signed it, and told where it says nothing."""

from __future__ import annotations

import threading

import pytest

from keyturn.anchors.judging import Contradicted, read_kept
from keyturn.anchors.patience import Patient
from keyturn.model.errors import ConnectorError
from tests.anchors.world import VERIFIER
from tests.log.test_note import Signer
from tests.witness.test_witness import LOG, OTHER, TREE

STRANGER = Signer(LOG.key.name, 9)


def test_a_note_of_the_log_says_size_and_root() -> None:
    assert read_kept(bytes(TREE.note(7)), VERIFIER).size == 7


def test_the_logs_name_with_another_key_is_a_contradiction() -> None:
    with pytest.raises(Contradicted, match="another key"):
        read_kept(bytes(TREE.note(7, STRANGER)), VERIFIER)


@pytest.mark.parametrize(
    ("note", "why"),
    [
        (b"", "no checkpoint"),
        (b"\xff\n\n", "no checkpoint"),
        (bytes(TREE.note(7)).replace(b"\n7\n", b"\n07\n"), "no checkpoint"),
        (bytes(TREE.note(7)).replace(b"\n7\n", b"\n8\n"), "not signed by the log"),
        (bytes(TREE.note(7, OTHER)), "of another log"),
    ],
)
def test_what_is_no_note_of_the_log_is_told_and_proves_nothing(note: bytes, why: str) -> None:
    with pytest.raises(ConnectorError, match=why):
        read_kept(note, VERIFIER)


def test_an_anchor_that_hangs_is_left() -> None:
    gate = threading.Event()
    call = Patient("mount", gate.wait)
    with pytest.raises(ConnectorError, match=r"does not answer within 0\.05 s"):
        call.wait(0.05)
    assert not call.over
    gate.set()
    assert call.wait(10) is True
    assert call.over


def test_what_an_anchor_raises_comes_out_and_a_fault_in_it_as_an_anchor_that_cannot_be_had(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def contradicts() -> None:
        raise Contradicted("forked", 5)

    with pytest.raises(Contradicted, match="forked"):
        Patient("mount", contradicts).wait(10)
    with pytest.raises(ConnectorError, match="an internal error interrupted it"):
        Patient("mount", lambda: 1 // 0).wait(10)
    assert "ZeroDivisionError" in caplog.text
