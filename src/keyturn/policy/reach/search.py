"""Looks for a request that some rules match and others do not, or proves that there is none.

The search is lazy: it finds arguments and a target for what must hold, then looks which rule is in the way, and goes
on with each way in which that rule may fail. What it finds is judged by the conditions themselves, so a request that
is found is one; and it only says that there is none when every way has ended at values that are known to be all.

Conditions on anything but arguments and target are atoms here: they may hold or not, except that the same one cannot
do both. A search that had to lean on one, or on a text that could not be found, ends as `Open` and says on what.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeAlias

from keyturn.canon import Json
from keyturn.model.contract import Contract
from keyturn.model.principal import Principal
from keyturn.policy.conditions.glob import Glob
from keyturn.policy.conditions.result import Met, Test, Unjudged
from keyturn.policy.domains import Place
from keyturn.policy.paths import Path
from keyturn.policy.patterns import glob
from keyturn.policy.reach.crowd import TARGET, Crowd, Speaker
from keyturn.policy.reach.samples import APART, required, sample, takes
from keyturn.policy.reach.values import ABSENT, Asked, Values, any_text, with_absence
from keyturn.policy.rules import Environment
from keyturn.policy.subject import Subject
from keyturn.policy.where import Condition, Where

MOST_STEPS = 400
"""So many sets of conditions are tried in one search."""

MOST_WORK = 200_000
"""So many conditions are looked at, each time anew, in all searches that share an allowance: about two seconds."""

TOO_MANY = "there are too many ways in which rules could fail to try them all"
UNTAKEN = "whether the contract takes such arguments"
_NAMING = ("deployment", "repository", "tracker")
_SETTLED = ("principal", "environment", "tool")
_TARGET_PATH = Path(text="target", root="target")

Accepts: TypeAlias = Callable[[Mapping[str, Json]], bool]
"""Says whether the contract takes these arguments."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Who calls what, where: what a search holds fixed.

    port   the kind of back end the tool acts on, if known
    hints  names of back ends that lie in the environment, so that what is made up looks like a call
    """

    principal: Principal
    contract: Contract
    environment: str
    now: datetime
    port: str | None = None
    accepts: Accepts = field(default=lambda _arguments: True)
    hints: tuple[str, ...] = ()

    @cached_property
    def place(self) -> Place:
        """What the arguments may be."""
        return Place.of(self.contract.input)

    @cached_property
    def ground(self) -> Mapping[str, Json]:
        """Arguments to start from: what the contract requires, and whatever else it takes to be taken."""
        return next((given for given in self.completed(self._needed, ()) if self.accepts(given)), self._needed)

    @cached_property
    def _needed(self) -> dict[str, Json]:
        names = [name for name in self.optional_and_required if required(self.place, name)]
        return {name: self.given(name) for name in names}

    @property
    def optional_and_required(self) -> tuple[str, ...]:
        """The names of all arguments that rules may see."""
        return tuple(sorted(self.place.names() - APART))

    def given(self, name: str) -> Json:
        """Return a small value of one argument."""
        if name == "environment":
            return self.environment
        return sample(self.place.property(name), self.hints if name in _NAMING else ())

    def completed(self, given: Mapping[str, Json], fixed: Iterable[str]) -> Iterator[Mapping[str, Json]]:
        """Yield the arguments as they are, then with one more that is not `fixed`, then with all of those."""
        yield given
        more = {name: self.given(name) for name in self.optional_and_required if name not in {*given, *fixed}}
        for name, value in more.items():
            yield {**given, name: value}
        yield {**given, **more}

    def subject(self, arguments: Mapping[str, Json], target: str = "") -> Subject:
        """Return what conditions see of a request of this scene."""
        return Subject(
            principal=self.principal,
            tool=self.contract.tool,
            arguments=arguments,
            now=self.now,
            target=target,
            environment=self.environment,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A request that is as asked."""

    arguments: Mapping[str, Json]
    target: str


@dataclass(frozen=True, slots=True)
class Open:
    """Nobody can tell from the text: it would have to be as `doubts` say. The request is as far as one was found."""

    arguments: Mapping[str, Json]
    target: str
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Impossible:
    """There is no such request; `blamed` are the rules that were in the way."""

    blamed: frozenset[str] = frozenset()


Reached: TypeAlias = Found | Open | Impossible


@dataclass(frozen=True, slots=True)
class Literal:
    """One condition that must hold, or must not."""

    condition: Condition
    holds: bool
    rule: str

    @property
    def doubt(self) -> str:
        """What would have to be."""
        asked = self.condition.test.asked
        if not self.holds:
            some = asked.removeprefix("in some item ")
            asked = f"not {asked}" if some == asked else f"in no item {some}"
        return f"{self.condition.path.text} must {asked} [{self.rule}]"


def holds(condition: Condition, subject: Subject) -> bool:
    """Say whether a condition counts as held: in a grant what cannot be judged does not, in a forbid it does."""
    result = condition.judge(subject)
    return isinstance(result, Met) or (isinstance(result, Unjudged) and not condition.strict)


def speaker(rule: str, where: Where, subject: Subject, doubts: tuple[str, ...] = ()) -> Speaker | None:
    """Return what the scene leaves open of a rule; None when it settles that the rule does not apply."""
    left: list[Condition] = []
    for condition in where.conditions:
        if condition.path.root not in _SETTLED:
            left.append(condition)
        elif not holds(condition, subject):
            return None
    return Speaker(rule, tuple(left), doubts)


def lies_in(environment: Environment) -> Speaker:
    """Return the rule that speaks of every target in an environment."""
    return Speaker(f"environments.{environment.name}", (_on_target(environment.targets, environment),))


def on_port(port: str) -> Speaker:
    """Return the rule that speaks of every target of one kind of back end."""
    place = Environment(name=port, targets=(f"{port}:**",), patterns=())
    return Speaker(f"the tool acts on {port} alone", (_on_target(place.targets, None),))


@dataclass(slots=True)
class Allowance:
    """What several searches may take in all: rules that meet in many ways must not hold anybody up."""

    left: int = MOST_WORK


def seek(
    scene: Scene,
    wanted: Sequence[Speaker],
    unwanted: Sequence[Crowd],
    spared: Container[str] = frozenset(),
    allowance: Allowance | None = None,
) -> Reached:
    """Look for a request to which every wanted rule applies, and no unwanted one but those `spared`.

    Without an allowance to share, a search has one of its own.
    """
    own = tuple(Literal(condition, True, one.rule) for one in wanted for condition in one.conditions)
    doubts = tuple(doubt for one in wanted for doubt in one.doubts)
    return _Search(scene, unwanted, spared, doubts, allowance or Allowance()).explore(own, frozenset())


@dataclass(frozen=True, slots=True)
class _Assigned:
    """Arguments and target that are as the literals ask; `unknown` are those for which no value was found."""

    arguments: Mapping[str, Json]
    target: str
    fixed: frozenset[str]
    unknown: frozenset[str]


class _Search:
    """One search; mutable, and used once."""

    def __init__(
        self,
        scene: Scene,
        unwanted: Sequence[Crowd],
        spared: Container[str],
        doubts: tuple[str, ...],
        allowance: Allowance,
    ) -> None:
        self._scene = scene
        self._unwanted = unwanted
        self._spared = spared
        self._doubts = doubts
        self._steps = MOST_STEPS
        self._allowance = allowance
        self._known: dict[tuple[object, ...], tuple[bool, Json, bool]] = {}
        self._blamed: set[str] = set()

    def explore(self, literals: tuple[Literal, ...], waived: frozenset[str]) -> Reached:
        """Look on from what must hold and must not; `waived` are doubts already leaned on."""
        self._steps -= 1
        self._allowance.left -= 1 + len(literals)
        if self._steps < 0 or self._allowance.left < 0:
            return Open({}, "", (TOO_MANY,))
        assigned = self._assign(literals)
        if assigned is None:
            return Impossible(frozenset(self._blamed))
        in_the_way = self._in_the_way(literals, waived, assigned)
        if in_the_way is None:
            return self._ended(literals, waived, assigned)
        self._blamed.add(in_the_way.rule)
        best: Reached = Impossible()
        for more, doubt in self._ways_out(in_the_way, literals, waived, assigned):
            reached = self.explore((*literals, *more), waived | doubt)
            if isinstance(reached, Found):
                return reached
            if isinstance(best, Impossible):
                best = reached
        return Impossible(frozenset(self._blamed)) if isinstance(best, Impossible) else best

    def _assign(self, literals: Sequence[Literal]) -> _Assigned | None:
        """Find a value for each argument, and a target; None if there is none for one of them."""
        by_name: dict[str, list[Literal]] = {TARGET: []}
        for literal in literals:
            if (name := _variable(literal.condition)) is not None:
                by_name.setdefault(name, []).append(literal)
            elif literal.holds is False and _contradicts(literal, literals):
                return None
        arguments, target, unknown = dict(self._scene.ground), "", set[str]()
        for name, asked in by_name.items():
            found, value, complete = self._solve(name, asked)
            if not found and complete:
                return None
            if not found:
                unknown.add(name)
            elif name == TARGET:
                target = str(value)
            else:
                arguments = {key: old for key, old in arguments.items() if key != name}
                arguments |= {} if value is ABSENT else {name: value}
        return _Assigned(arguments, target, frozenset(by_name), frozenset(unknown))

    def _solve(self, name: str, literals: Sequence[Literal]) -> tuple[bool, Json, bool]:
        """Return whether there is a value as asked, the value, and if there is none whether that is certain."""
        key = (name, *((id(literal.condition), literal.holds) for literal in literals))
        if key not in self._known:
            self._known[key] = self._solved(name, literals)
        return self._known[key]

    def _solved(self, name: str, literals: Sequence[Literal]) -> tuple[bool, Json, bool]:
        def fits(value: Json) -> bool:
            subject = self._scene.subject({}, str(value)) if name == TARGET else self._scene.subject({name: value})
            return all(holds(literal.condition, subject) is literal.holds for literal in literals)

        first = self._scene.ground.get(name)
        if first is not None and fits(first):
            return True, first, True
        proposed = self._proposed(name, [literal.condition for literal in literals])
        place = None if name == TARGET else self._scene.place.property(name)
        untaken = False  # what is judged as asked and is not taken may have a twin that is
        try:
            while not (fits(value := next(proposed)) and takes(place, value)):
                untaken = untaken or fits(value)
        except StopIteration as end:
            return False, None, bool(end.value) and not untaken
        if isinstance(value, str) and value.endswith("/") and fits(f"{value}a"):
            return True, f"{value}a", True
        return True, value, True

    def _proposed(self, name: str, conditions: Sequence[Condition]) -> Values:
        if name == TARGET:
            return any_text(condition.test for condition in conditions)
        if name == "environment":
            return _named(self._scene.environment, may_miss=not required(self._scene.place, name))
        return with_absence(self._scene.place, name, [_asked(condition) for condition in conditions])

    def _in_the_way(self, literals: Sequence[Literal], waived: frozenset[str], assigned: _Assigned) -> Speaker | None:
        """Return an unwanted rule that applies, else one that may."""
        subject = self._scene.subject(assigned.arguments, assigned.target)
        denied = {id(literal.condition) for literal in literals if not literal.holds}
        maybe: Speaker | None = None
        for one in self._near(assigned):
            stance = _stance(one, subject, assigned.unknown, denied)
            if stance is False or any(doubt in waived for doubt in _named_doubts(one)):
                continue
            if stance and not one.doubts:
                return one
            maybe = maybe or one
        return maybe

    def _near(self, assigned: _Assigned) -> Iterator[Speaker]:
        for crowd in self._unwanted:
            near = crowd.everybody() if assigned.unknown else crowd.about(assigned.arguments, assigned.target)
            yield from (one for one in near if one.rule not in self._spared)

    def _ways_out(
        self, one: Speaker, literals: Sequence[Literal], waived: frozenset[str], assigned: _Assigned
    ) -> Iterator[tuple[tuple[Literal, ...], frozenset[str]]]:
        """Yield each way in which a rule may not apply: conditions that can be settled come first."""
        subject = self._scene.subject(assigned.arguments, assigned.target)

        def settled(condition: Condition) -> bool:
            return _judged(condition, subject, assigned.unknown) is not None

        for condition in sorted(one.conditions, key=settled, reverse=True):
            yield (Literal(condition, False, one.rule),), frozenset()
        for doubt in _named_doubts(one):
            yield (), frozenset({doubt})

    def _ended(self, literals: Sequence[Literal], waived: frozenset[str], assigned: _Assigned) -> Reached:
        doubts = [*self._doubts, *sorted(waived)]
        doubts += [one.doubt for one in literals if _variable(one.condition) in {None, *assigned.unknown}]
        arguments = self._taken(literals, waived, assigned)
        if arguments is None:
            doubts.append(UNTAKEN)
        if doubts:
            return Open(arguments or assigned.arguments, assigned.target, tuple(dict.fromkeys(doubts)))
        return Found(arguments or {}, assigned.target)

    def _taken(
        self, literals: Sequence[Literal], waived: frozenset[str], assigned: _Assigned
    ) -> Mapping[str, Json] | None:
        """Return arguments that the contract takes and that leave every rule as it was found."""
        for given in self._scene.completed(assigned.arguments, assigned.fixed):
            if not self._scene.accepts(given):
                continue
            again = _Assigned(given, assigned.target, assigned.fixed, assigned.unknown)
            if given is assigned.arguments or self._in_the_way(literals, waived, again) is None:
                return given
        return None


def _stance(one: Speaker, subject: Subject, unknown: frozenset[str], denied: set[int]) -> bool | None:
    """Say whether a rule applies; None if it may."""
    certain = True
    for condition in one.conditions:
        judged = _judged(condition, subject, unknown)
        if judged is False or (judged is None and id(condition) in denied):
            return False
        certain = certain and judged is True
    return True if certain else None


def _judged(condition: Condition, subject: Subject, unknown: frozenset[str]) -> bool | None:
    """Say whether a condition holds; None if the request found so far does not tell."""
    name = _variable(condition)
    return None if name is None or name in unknown else holds(condition, subject)


def _contradicts(denied: Literal, literals: Sequence[Literal]) -> bool:
    """Say whether a condition that must not hold is one that must.

    What cannot be judged holds in a forbid and not in a grant: so the same words can do both there.
    """
    atom, lax = _atom(denied.condition), not denied.condition.strict
    return any(one.holds and (lax or one.condition.strict) and _atom(one.condition) == atom for one in literals)


def _atom(condition: Condition) -> tuple[str, object, Test]:
    return condition.path.text, condition.path.zone, condition.test


def _variable(condition: Condition) -> str | None:
    """Return the argument a condition is about, or the target; None for an atom."""
    match condition.path.root:
        case "arguments":
            return condition.path.steps[0].name
        case "target":
            return TARGET
        case _:
            return None


def _asked(condition: Condition) -> Asked:
    first, *rest = condition.path.steps
    below = ["*"] if first.star else []
    for step in rest:
        below += [step.name, "*"] if step.star else [step.name]
    return Asked(tuple(below), condition.test)


def _named(environment: str, *, may_miss: bool) -> Values:
    """Yield what an argument that selects the environment can be: the one it is, or nothing."""
    yield environment
    if may_miss:
        yield ABSENT
    return True


def _named_doubts(one: Speaker) -> tuple[str, ...]:
    return tuple(f"{doubt} [{one.rule}]" for doubt in one.doubts)


def _on_target(targets: tuple[str, ...], environment: Environment | None) -> Condition:
    patterns = environment.patterns if environment else tuple(glob(target) for target in targets)
    return Condition(_TARGET_PATH, Glob(targets, patterns), strict=True)
