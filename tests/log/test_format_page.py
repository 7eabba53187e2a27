"""`docs/format.md` and the code say the same: example, proofs, frame, kinds, facts and their types, payload fields.

The types are not compared as words: each is turned into a check, and page and code must agree on hundreds of values.
"""

from __future__ import annotations

import base64
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn import canon
from keyturn.canon import Json
from keyturn.log import chain, kinds
from keyturn.log.entry import MAX_BODY, VERSION, EntryError, read_entry
from keyturn.log.envelope import ENTRY_TYPE, KEY_PROOF_TYPE, SNAPSHOT_TYPE
from keyturn.log.kinds import KINDS, Check
from keyturn.log.note import COSIGNATURE, ED25519, MAX_NOTE, MAX_SIGNATURES
from keyturn.log.proof import MAX_PROOF
from tests.vectors.reading import chain as golden_chain
from tests.vectors.reading import load, names, stored

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text("utf-8")
Table = dict[str, str]


def section(title: str) -> str:
    """Return what stands under a heading, down to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def table(title: str) -> Table:
    """Return name → type of the table under a heading, in its order."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", section(title), re.MULTILINE)
    assert len(rows) == len({name for name, _ in rows}), title
    return {name: what.strip() for name, what in rows}


def headings(title: str) -> list[str]:
    """Return the third-level headings below a second-level one."""
    part = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return [heading.strip("`") for heading in re.findall(r"^### (.+)$", part, re.MULTILINE)]


FIXED: dict[str, Check] = {
    "1": lambda value: None if value == 1 and value is not True else "1",
    "int": kinds.integer(),
    "bool": kinds.boolean,
    "name": kinds.text(200),
    "time": kinds.timestamp,
    "digest": kinds.digest,
    "commitment": kinds.commitment,
    "payload field": kinds.payload_field,
    "uuid": kinds.uuid,
    "base64": kinds.base64_of(),
    "verb": kinds.pattern(re.compile(r"[a-z]+\.[a-z]+"), "two words"),
}


def check_of(word: str) -> Check:
    """Turn a type as the page writes it into a check."""
    if word.endswith(" or null"):
        return kinds.nullable(check_of(word.removesuffix(" or null")))
    if word.endswith(" or empty"):
        inner = check_of(word.removesuffix(" or empty"))
        return lambda value: None if value == "" else inner(value)
    if word.startswith("list of "):
        return kinds.many(check_of(word.removeprefix("list of ")), 256)
    if word.startswith("map of "):
        return kinds.mapping(check_of(word.removeprefix("map of ")), kinds.text(200), 0, 256)
    if word.startswith("one of "):
        return kinds.one_of(*re.findall(r"`([^`]+)`", word))
    if number := re.fullmatch(r"(text|hex|base64|int ≥) ([0-9]+)", word):
        make = {"text": kinds.text, "hex": kinds.hexadecimal, "base64": kinds.base64_of, "int ≥": kinds.integer}
        return make[number[1]](int(number[2]))
    if word.isupper():
        return kinds.record(**{name: check_of(what) for name, what in table(word).items()})
    return FIXED[word]


def parts_of(value: Json) -> Iterator[Json]:
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from parts_of(item)


OTHERS: list[Json] = [None, "", 0, -1, True, [], {"a": 1}]
OTHERS += ["x" * size for size in (200, 201, 500, 501, 1000, 1001)]
OTHERS += re.findall(r'"([^"\n]+)"', inspect.getsource(kinds))  # among them every word that a fact may be


def nearby(value: Json) -> Iterator[Json]:
    """Yield values that differ a little from a good one."""
    if isinstance(value, str):
        yield from (value + "0", value[:-1], value.upper(), value + "\n", f" {value}")
    if isinstance(value, list):
        yield from (value * 257, [*value, None], [*value, "x"])
        yield from ([other] for item in value[:1] for other in nearby(item))
    if isinstance(value, dict):
        yield {**value, "more": 1}
        for name in list(value) if len(value) < 9 else []:  # whole bodies are no facts
            yield {key: item for key, item in value.items() if key != name}
            yield from ({**value, name: other} for other in (*OTHERS, *nearby(value[name])))


def samples() -> list[Json]:
    """Return plain values and every value in the golden log."""
    plain: list[Any] = [None, True, False, -1, 0, 1, 2, canon.MAX_INTEGER, "", [], {}, [None], [""], [1], ["x", "y"]]
    plain += ["x" * size for size in (1, 63, 64, 65, 200, 201, 300, 301, 500, 501, 1000, 1001, 3000, 3001)]
    plain += [["x" * 3000], ["x" * 3001], ["x"] * 256, ["x"] * 257, {"": ["x"]}, {"a": "b"}, {"a\n": ["x"]}]
    plain += [{f"n{i}": ["x"] for i in range(256)}, {f"n{i}": ["x"] for i in range(257)}]
    plain += ["0" * 64, "g" * 64, "A" * 64, "sha256:" + "0" * 63, "AAAA", "AAA", "AB==", "AA==", "policy.activate"]
    golden = [part for row in golden_chain() for part in parts_of(canon.decode(row.body))]
    return list({canon.encode(value): value for value in [*plain, *golden]}.values())


SAMPLES = samples()
MORE = list({canon.encode(other): other for value in SAMPLES for other in nearby(value)}.values())


def accepted(fields: dict[str, Json]) -> bool:
    try:
        read_entry(canon.encode(fields), b"")
    except EntryError:
        return False
    return True


def test_the_page_names_every_kind_and_nothing_else() -> None:
    assert headings("Kinds") == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_names_every_fact_of_a_kind_and_nothing_else(kind: str) -> None:
    assert list(table(f"`{kind}`")) == list(KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_gives_every_fact_the_type_that_is_enforced(kind: str) -> None:
    for fact, word in table(f"`{kind}`").items():
        said, enforced = check_of(word), KINDS[kind][fact]
        assert [value for value in (*SAMPLES, *MORE) if (said(value) is None) != (enforced(value) is None)] == [], (
            fact
        )


def test_the_page_gives_every_frame_field_the_type_that_is_enforced() -> None:
    said = table("Frame")
    assert said.pop("data") == "map"
    assert said.pop("kind") == "text 64"
    assert set(said) | {"data", "kind"} == {*load("entries/action.cancelled.json")["expect"]} - {"facts"}
    fields = canon.decode_object(stored(load("entries/action.cancelled.json")).body)
    for name, word in said.items():
        check = check_of(word)
        for value in SAMPLES:
            assert (check(value) is None) == accepted({**fields, name: value}), (name, value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_of_an_entry_is_required_and_no_other_is_taken(kind: str) -> None:
    fields = canon.decode_object(stored(load(f"entries/{kind}.json")).body)
    for name in fields:
        less = {key: value for key, value in fields.items() if key != name}
        if name == "data":
            assert read_entry(canon.encode(less), b"").data == {}
            continue
        with pytest.raises(EntryError, match=name):
            read_entry(canon.encode(less), b"")
    with pytest.raises(EntryError, match="zeal is not known"):
        read_entry(canon.encode({**fields, "zeal": 1}), b"")


def test_the_page_describes_the_objects_that_facts_use_and_no_other() -> None:
    used = {word for title in [*KINDS] for word in table(f"`{title}`").values()}
    used |= {word for title in headings("Objects in facts") for word in table(title).values()}
    capitals = {found for word in used for found in re.findall(r"\b[A-Z]+\b", word)}
    assert capitals == set(headings("Objects in facts"))


def test_the_page_forbids_exactly_the_characters_that_are_refused_in_names() -> None:
    row = re.search(r"^\| `text N` \|.*none of U\+([0-9A-F\u2013, ]+) \|$", PAGE, re.MULTILINE)
    assert row
    refused: set[int] = set()
    for part in row[1].split(", "):
        low, _, high = part.partition("\u2013")
        refused |= set(range(int(low, 16), int(high or low, 16) + 1))
    check = kinds.text(1)
    surrogates = range(0xD800, 0xE000)  # no text holds one: canon refuses it before
    found = {code for code in range(0x110000) if code not in surrogates and check(chr(code))}
    assert found == refused


def test_the_example_is_a_golden_entry() -> None:
    block = PAGE.split("```\n", 2)[1]
    body = "".join(line.strip() for line in block.splitlines())
    assert body == load("entries/action.cancelled.json")["body"]


@pytest.mark.parametrize(
    ("title", "path", "member"),
    [
        ("Notes", "notes/cosigned.json", "note_base64"),
        ("Proofs", "proofs/entry-6-of-27.json", "proof_base64"),
        ("Proofs", "proofs/growth-20-to-27.json", "body_base64"),
    ],
)
def test_the_notes_and_proofs_on_the_page_are_golden_ones(title: str, path: str, member: str) -> None:
    blocks = re.findall(r"^```\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)
    assert base64.b64decode(load(path)[member]).decode() in blocks


def test_the_page_has_the_bounds_and_algorithms_of_notes_and_proofs() -> None:
    notes, proofs = section("Notes"), section("Proofs")
    assert f"at most {MAX_SIGNATURES}," in notes
    assert f"At most {MAX_NOTE // 1024} KiB" in notes
    assert re.findall(r"^\| (log|witness) \| `0x([0-9a-f]{2})` ", notes, re.MULTILINE) == [
        ("log", f"{ED25519:02x}"), ("witness", f"{COSIGNATURE:02x}"),
    ]  # fmt: skip
    assert proofs.count(f"at most {MAX_PROOF}") == 2


def test_the_proofs_are_numbered_as_in_the_code() -> None:
    def numbered(text: str) -> list[str]:
        found = re.findall(r"^ ?([0-9]\. .*?[;.])$", inspect.cleandoc(text), re.MULTILINE | re.DOTALL)
        return [" ".join(item.split()) for item in found]

    assert chain.__doc__
    said = numbered(section("What a verifier proves"))
    assert len(said) == 5
    assert said == numbered(chain.__doc__)


def test_the_page_has_the_numbers_and_types_of_the_code() -> None:
    assert f"version {VERSION}" in PAGE.splitlines()[0]
    assert f"{MAX_BODY:,} bytes" in PAGE
    assert f"at most {canon.MAX_DEPTH} objects" in PAGE
    assert all(f"`{name}`" in PAGE for name in (KEY_PROOF_TYPE, ENTRY_TYPE, SNAPSHOT_TYPE))
    assert f"`{kinds.FIELD.pattern}`" in PAGE


def payload_rows() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ", section("Payloads"), re.MULTILINE)
    return {field: set(re.findall(r"`([^`]+)`", where)) for field, where in rows}


@pytest.mark.parametrize("kind", names("entries"))
def test_the_page_lists_the_payload_fields_of_the_vectors(kind: str) -> None:
    rows = payload_rows()
    assert set().union(*rows.values()) <= set(KINDS)
    for row in golden_chain():
        fields: dict[str, Any] = json.loads(row.body)
        for name in fields.get("data", {}):
            listed = "argument.<name>" if name.startswith("argument.") else name
            assert fields["kind"] in rows[listed], name
    assert kind in KINDS
