"""Tiles and manifests: every size has its files, every path one spelling, and what is written is read back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn import canon
from keyturn.evidence import verify as program
from keyturn.log.manifest import EVERYWHERE, Manifest, ManifestError, read_manifest
from keyturn.log.tiles import Tile, bundles, entries_path, numbered, payloads_path, signatures_path, tiles
from keyturn.log.tree import WIDTH, fold_nodes, root_of
from tests.vectors.story import VERIFIER

SIZES = st.one_of(st.integers(1, 1000), st.integers(1, 300_000))


@given(st.integers(0, 2**62))
def test_an_index_is_written_in_threes_and_read_back(index: int) -> None:
    text = numbered(index)
    assert re.fullmatch(r"(x\d{3}/)*\d{3}", text)
    assert int(text.replace("x", "").replace("/", "")) == index
    assert program.numbered(index) == text


@pytest.mark.parametrize(
    ("index", "text"), [(0, "000"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067")]
)
def test_an_index_is_written_as_the_specification_says(index: int, text: str) -> None:
    assert numbered(index) == text


def test_the_example_of_the_specification_has_its_tiles() -> None:
    found = list(tiles(70_000))
    assert [len([tile for tile in found if tile.level == level and tile.width == WIDTH]) for level in range(3)] == [
        273, 1, 0,
    ]  # fmt: skip
    assert [tile.path for tile in found if tile.width < WIDTH] == [
        "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1",
    ]  # fmt: skip


def test_a_full_tile_is_a_node_of_the_next_level_at_once() -> None:
    assert [tile.path for tile in tiles(256)] == ["tile/0/000", "tile/1/000.p/1"]


@given(SIZES)
def test_the_tiles_of_a_size_are_those_the_specification_counts(size: int) -> None:
    found = list(tiles(size))
    for level in range(4):
        count = size >> 8 * level
        widths = [tile.width for tile in found if tile.level == level]
        assert sum(widths) == count
        assert all(width == WIDTH for width in widths[:-1])
        assert not widths or widths[-1] == (count % WIDTH or WIDTH)
    assert len({tile.path for tile in found}) == len(found)


@given(SIZES)
def test_the_program_names_the_same_parts(size: int) -> None:
    assert [program.partial("tile/entries/", index, size) for index, _ in bundles(size)] == [
        entries_path(index, width) for index, width in bundles(size)
    ]
    assert [program.partial(f"tile/{tile.level}/", tile.index, size >> 8 * tile.level) for tile in tiles(size)] == [
        tile.path for tile in tiles(size)
    ]


def test_signatures_and_payloads_lie_beside_their_entries() -> None:
    assert (signatures_path(1001), payloads_path(1001)) == ("signatures/x001/001", "payloads/x001/001.json")
    assert Tile(2, 1001, 3).path == "tile/2/x001/001.p/3"


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=1500), st.data())
def test_the_program_knows_the_root_of_every_size(leaves: list[bytes], data: st.DataObject) -> None:
    def nodes(level: int, first: int, count: int) -> list[bytes]:
        if level == 0:
            return leaves[first : first + count]
        return [fold_nodes(nodes(level - 8, index * WIDTH, WIDTH)) for index in range(first, first + count)]

    tree = program.Tree(
        lambda level, index: nodes(8 * level, index * WIDTH, (len(leaves) >> 8 * level) - index * WIDTH)
    )
    for leaf in leaves:
        tree.add(leaf)
    size = data.draw(st.integers(1, len(leaves)))
    assert tree.root(size) == root_of(size, nodes)


FIELDS = st.sets(st.sampled_from(["reason", "diff", "plan", "argument.title"]))
ACTIONS = st.one_of(
    st.none(), st.sets(st.sampled_from([f"019aa5b2-7d80-7000-8000-00000000000{n}" for n in range(4)]))
)
MANIFESTS = st.builds(
    lambda size, first, length, actions, fields: Manifest(
        verifier=VERIFIER, size=size, first=first, end=first + length,
        actions=None if actions is None else frozenset(actions), withheld=frozenset(fields),
    ),
    st.integers(1, 2**40), st.integers(0, 100), st.integers(0, 100), ACTIONS, FIELDS,
)  # fmt: skip


@given(MANIFESTS)
def test_a_manifest_is_read_back_as_it_was_written(manifest: Manifest) -> None:
    assert read_manifest(bytes(manifest)) == manifest


@given(MANIFESTS, st.integers(0, 250), st.sampled_from([*sorted(EVERYWHERE), "reason", "diff"]))
def test_what_checks_the_log_is_always_disclosed_and_the_rest_as_chosen(
    manifest: Manifest, seq: int, field: str
) -> None:
    chosen = manifest.first <= seq < manifest.end and manifest.actions is None
    assert manifest.discloses(seq, None, field) is (
        field in EVERYWHERE or (chosen and field not in manifest.withheld)
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "keyturn-bundle/v2"}, "format"),
        ({"size": 0}, "size"),
        ({"verifier": "trust me"}, "verifier"),
        ({"mood": "good"}, "mood is not known"),
        ({"payloads": {"actions": None, "end": 1, "first": 0, "withheld": ["policy.files"]}}, "never withheld"),
        ({"payloads": {"actions": ["x"], "end": 1, "first": 0, "withheld": []}}, "payloads"),
    ],
)
def test_a_manifest_of_another_form_is_refused(change: dict[str, object], reason: str) -> None:
    value = canon.decode_object(bytes(Manifest(verifier=VERIFIER, size=1, first=0, end=1)))
    with pytest.raises(ManifestError, match=reason):
        read_manifest(canon.encode({**value, **change}))  # type: ignore[dict-item]  # what is wrong is the point


def test_a_manifest_that_is_not_canonical_is_refused() -> None:
    with pytest.raises(ManifestError, match="canonical"):
        read_manifest(bytes(Manifest(verifier=VERIFIER, size=1, first=0, end=1)) + b"\n")
