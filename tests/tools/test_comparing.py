"""What lies between two commits is shown whole, or named by digests where it is too large."""

from __future__ import annotations

from keyturn.canon import sha256
from keyturn.connectors.forge import File, FileState
from keyturn.tools.comparing import compare


def file(content: bytes, mode: str = "100644") -> File:
    return File(state=FileState("0" * 40, mode), content=content)


def test_the_longest_diffs_give_way_to_digests_until_the_rest_fits() -> None:
    old, new = file(b"a\n"), file(b"b\n" * 5000)
    files = {"large.txt": (old, new), "--- small.txt": (None, file(b"one\n")), "gone.txt": (file(b"x\n"), None)}
    whole, cut = compare(files), compare(files, 1000)
    assert (whole.summarised, whole.note()) == (0, "")
    assert (cut.summarised, cut.note()) == (1, ", 1 shown by digest only")
    text = cut.worked.patch
    assert len(text) <= 1000
    assert (
        "diff --git a/large.txt b/large.txt\n"
        f"Not shown (too large): {sha256(b'a' + bytes([10]))} (2 bytes) -> {sha256(new.content)} (10000 bytes)\n"
    ) in text
    assert "+one\n" in text
    assert cut.worked.effects() == whole.worked.effects()
    assert cut.worked.view() == whole.worked.view()


def test_a_small_bound_keeps_names_and_modes_of_every_file() -> None:
    files = {
        "a.bin": (None, file(b"\0\1")),
        "b.sh": (file(b"x\n"), file(b"x\n", "100755")),
        "c.txt": (file(b"x\n"), None),
    }
    cut = compare(files, 0)
    assert cut.summarised == 3
    assert "new file mode 100644\nNot shown (too large): nothing -> sha256:" in cut.worked.patch
    assert "old mode 100644\nnew mode 100755\nNot shown (too large): sha256:" in cut.worked.patch
    assert "deleted file mode 100644\nNot shown (too large): sha256:" in cut.worked.patch
    assert "Binary content" not in cut.worked.patch
    statuses = [(item["path"], item["status"]) for item in cut.worked.view()]
    assert statuses == [("a.bin", "added"), ("b.sh", "modified"), ("c.txt", "deleted")]
