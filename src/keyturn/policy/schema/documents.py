"""Puts the schemas of whole files together: `policy.toml`, a file that it includes, and a file of cases."""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.canon import Json
from keyturn.model.contract import Contract
from keyturn.policy.documents import FOLDER
from keyturn.policy.schema import rules, sections
from keyturn.policy.schema.conditions import definitions
from keyturn.policy.schema.keys import Key, Keys, Named, Several, document
from keyturn.policy.schema.values import integer, texts, written

ALONE = ("version", "includes", "tests", "policy")
"""What stands in `policy.toml` alone, and in no file that it includes."""


def top(contracts: Iterable[Contract]) -> Keys:
    """Return the keys at the top of `policy.toml`, for tools with these contracts."""
    known = tuple(sorted(contracts, key=lambda contract: contract.tool))
    world, rule = sections.by_name, rules
    return Keys(
        (
            Key("version", integer(1, 1), "always `1`", required=True),
            Key(
                "includes",
                texts(item=written(FOLDER.pattern)),
                "folders beside `policy.toml` whose files belong to it, [see below](#several-files)",
            ),
            Key(
                "tests",
                written("[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}/?"),
                "a folder beside `policy.toml` with cases that must pass, [see below](#cases)",
            ),
            Key("policy", sections.POLICY, "what it takes to change the policy"),
            Key("principals", world(sections.PRINCIPALS, "an assistant"), "assistants, by name"),
            Key(
                "people",
                world(sections.PEOPLE, "somebody who owns assistants and does not review"),
                "people who do not review, by name",
            ),
            Key("reviewers", world(sections.REVIEWERS, "somebody who reviews"), "people who review, by name"),
            Key("environments", world(sections.ENVIRONMENTS, "a class of targets"), "environments, by name"),
            Key(
                "lanes",
                world(sections.lanes(known), "what several environments ask, [see below](#lanesname)"),
                "lanes, by name: what several environments ask",
            ),
            Key(
                "tools",
                Named(
                    sections.PRICES,
                    tuple(rules.tools(known, "governed")),
                    "what a call of the tool reserves, [see below](#toolsname)",
                ),
                "what calls reserve, by the name of the tool",
            ),
            Key("grants", Several(rule.grants(known)), "a grant lets some assistants call one tool"),
            Key("forbids", Several(rule.forbids(known)), "a forbid refuses, whatever is granted"),
            Key("limits", Several(rule.limits(known)), "limits on how often and how much"),
            Key("freezes", Several(rule.freezes(known)), "when changes are refused or need people's consent"),
            Key("risk", sections.RISK, "how requests are scored"),
            Key("queue", sections.QUEUE, "how many calls may ask other systems at the same time"),
            Key("degrade", sections.DEGRADE, "what is suspended when something is wrong"),
        )
    )


def policy_schema(contracts: Iterable[Contract]) -> dict[str, Json]:
    """Return the schema of `policy.toml`."""
    says = "Who may do what, how often, and who must agree first"
    return document("Keyturn: policy.toml", says, top(contracts), definitions())


def part_schema(contracts: Iterable[Contract]) -> dict[str, Json]:
    """Return the schema of a file that a policy includes."""
    keys = Keys(tuple(key for key in top(contracts).keys if key.name not in ALONE))
    return document("Keyturn: a file that policy.toml includes", "Part of a policy", keys, definitions())


def cases_schema(contracts: Iterable[Contract]) -> dict[str, Json]:
    """Return the schema of a file of cases."""
    known = tuple(sorted(contracts, key=lambda contract: contract.tool))
    keys = Keys((Key("cases", Several(sections.cases(known)), "what is asked, and what has to come of it"),))
    return document("Keyturn: cases of a policy", "Cases that a policy must pass", keys, {})
