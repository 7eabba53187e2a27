"""A campaign: every back end with every kind of credential, through success and whatever can go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import yaml

from keyturn.assembly.ports import Ports, build_ports, world_of
from keyturn.assembly.wiring import read_wiring
from keyturn.connectors.forge.merging import Merges
from tests.bed import ssh
from tests.bed.emulator import ORGANISATION, Emulator, Repository
from tests.bed.faults import DoneBut, DropAfter, Fault, FaultProxy, Garble, Gate, Hold, Instead, Truncate, refusal
from tests.bed.git_http import WRITER, git_http
from tests.bed.kubernetes import TOKEN, Kubernetes, kubernetes
from tests.bed.manners import Manners
from tests.bed.recorder import Answer, Request, answer
from tests.canaries.evidence import Evidence, live, logged, shown
from tests.canaries.marks import Canaries
from tests.cli.operator import tell
from tests.gateway.world import Founded, World
from tests.server.clients import raw, request
from tests.server.home import Place, until

POLICY = (
    (
        'targets = ["deployments:web/production", "forge:shop/*"]',
        'targets = ["deployments:web/production", "forge:*/*"]',
    ),
    ('limits = ["20 calls per hour", "2000 lines_changed per day", "5 pending"]', 'limits = ["500 calls per hour"]'),
    ('limits = ["5 calls per hour"]', 'limits = ["500 calls per hour"]'),
)
VARIABLE = "CANARY_FORGE_TOKEN"
OPENING: Mapping[str, Any] = {"base": "main", "title": "Greet people"}


def echo(status: int) -> Callable[[Request], Answer]:
    """Say back everything that was heard, as a careless or a hostile system would."""

    def saying(request: Request) -> Answer:
        heard = request.header("authorization") or "nothing"
        told = {"message": f"you sent {heard}", "error": heard, "sha": heard, "object": {"sha": heard}, "id": 1}
        location = f"https://elsewhere.example/{heard.rpartition(' ')[2]}"
        return answer(status, told, x_echo=heard, location=location, www_authenticate=f'Basic realm="{heard}"')

    return saying


def faults() -> dict[str, Callable[[], Any]]:
    """Return what is done to every request of a back end, by its name."""
    return {
        "401": lambda: Instead(echo(401)),
        "403": lambda: Instead(echo(403)),
        "404": lambda: Instead(echo(404)),
        "422": lambda: Instead(echo(422)),
        "500": lambda: Instead(echo(500)),
        "a redirect elsewhere": lambda: Instead(echo(302)),
        "a broken answer": lambda: Instead(echo(200)),
        "a list in the place of an object": lambda: Instead(answer(200, [[1]])),
        "bytes that are no text": Garble,
        "an answer that ends early": Truncate,
        "no answer": DropAfter,
        "a limit": lambda: Instead(refusal(429, retry_after="90")),
        "done, and 500": lambda: DoneBut(refusal(500)),
        "silence": lambda: Hold(Gate()),
    }


EFFECTS = ("401", "500", "a broken answer", "an answer that ends early", "no answer")
"""Faults in which effects are carried out."""
WHOLE = ("nothing", "401", "a broken answer")
"""Faults in which operators look as well."""


@dataclass(slots=True)
class System:
    """One back end: its name, what is before it, and an effect on it that needs a review."""

    place: str
    proxy: FaultProxy | None
    ask: tuple[str, Mapping[str, Any]] | None = None


@dataclass(slots=True)
class Campaign:
    """A home with systems, what it left behind, and how things ended by system and fault."""

    world: World
    operator: Path
    canaries: Canaries = field(default_factory=Canaries)
    evidence: Evidence = field(default_factory=Evidence)
    systems: list[System] = field(default_factory=list)
    ended: dict[tuple[str, str], str] = field(default_factory=dict)
    raised: dict[str, list[str]] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.world.home.folder

    def keep(self, name: str, text: str) -> Path:
        """Lay a credential down where operators do: outside of the home, for nobody else to read."""
        path = self.operator / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="ascii")
        return path

    # what is said

    def tell(self, *arguments: str) -> Any:
        said = tell("--home", self.home, *arguments)
        self.evidence.add("command line", said.out + said.err)
        return said

    def call(self, tool: str, **arguments: Any) -> Mapping[str, Any]:
        answered = self.world.call(tool, **arguments)
        self.evidence.add("answers", json.dumps([answered.envelope, str(answered)], default=str))
        return answered.envelope

    def approved(self, tool: str, **arguments: Any) -> str | None:
        """Ask, and have it approved; None where it is refused while it is planned."""
        told = self.call(tool, **arguments)
        if told["status"] != "pending":
            return None
        self.world.approve(str(told["action_id"]))
        return str(told["action_id"])

    # what happens

    def succeed(self) -> None:
        """Do everything once that works."""
        for system in self.systems:
            if system.ask is not None:
                tool, arguments = system.ask
                action = self.approved(tool, **arguments)
                assert action is not None, (system.place, self.evidence.kept["answers"][-1])
                self.world.drain()
                self.ended[system.place, "nothing"] = self.world.status(action)
        self.direct("nothing")
        self.reads()

    def reads(self) -> None:
        for environment in ("production", "certificate", "embedded", "plugin"):
            self.call("get_deployment", deployment="web", environment=environment)
        self.call("get_ticket", ticket="1")

    def fail(self, name: str, fault: Callable[[], Any]) -> None:
        """Let everything go wrong in one way: reads, looks by an operator, and effects that are under way."""
        begun = {
            system.place: self.approved(system.ask[0], **_again(system.ask[1], name))
            for system in self.systems
            if system.ask is not None and system.proxy is not None and name in EFFECTS
        }
        deed, proxies = fault(), [system.proxy for system in self.systems if system.proxy]
        if begun:
            for proxy in proxies:
                proxy.faults.set(Fault("change", ".*", deed, nth=0))
            self.world.drain()
        for proxy in proxies:
            proxy.faults.set(Fault("*", ".*", deed, nth=0))
        self.direct(name)
        if name in WHOLE:
            self.reads()
            self.tell("connector", "check", "--json")
            self.tell("doctor")
        for proxy in proxies:
            proxy.faults.set()
        if isinstance(deed, Hold):
            deed.gate.open()
        if begun:
            self.world.clock.run(minutes=5)
            self.world.drain()
        for place, action in begun.items():
            if action is not None:
                self.ended[place, name] = self.world.status(action)

    def direct(self, name: str) -> None:
        """Ask every back end itself, and keep what its errors show."""
        ports = build_ports(read_wiring(self.world.home.wiring), world_of(self.world.home, commands=True))
        for error in anyio.run(partial(_asked, ports, whole=name in WHOLE)):
            self.raised.setdefault(name, []).append(type(error).__name__)
            # What a system says with success is content: frames that read it hold it as it came, credential or not.
            self.evidence.add("errors", f"{name}: {shown(error, frames=name != 'a broken answer')}")
        if name in WHOLE:
            self.evidence.add("live objects", "\n".join(set(live())))

    def look(self) -> None:
        """Use every verb that shows or copies something."""
        actions = [str(entry.action) for entry in self.world.entries("action.requested")]
        self.tell("doctor")
        self.tell("doctor", "--json")
        self.tell("status", "--json")
        self.tell("connector", "list", "--json")
        self.tell("connector", "check", "--json")
        self.tell("action", "list", "--json")
        for action in actions:
            self.tell("action", "show", action, "--json")
            self.tell("audit", "show", action)
            self.tell("action", "export", action, "--out", str(self.operator / f"{action}.json"))
        self.tell("audit", "log", "--json")
        self.tell("audit", "backup", str(self.operator / "backup.db"))
        self.tell("audit", "verify")
        self.tell("inbox", "--json")
        self.tell("policy", "show")

    def serve(self) -> None:
        """Run a server and a worker as programs that say all they can, and let both meet failures."""
        place = Place(self.home, self.world.tokens["claude"], self.world.keys["alice"])
        token = {VARIABLE: os.environ[VARIABLE]}
        metrics = ("--metrics", "127.0.0.1:0")
        hub = next(system.proxy for system in self.systems if system.place == "tickets.ops")
        assert hub is not None
        with (
            self._worker("--log", "json", *metrics, **token) as worker,
            raw(place, "--log", "json", **token) as server,
        ):
            server.greet()
            for number, fault in enumerate([None, Instead(echo(401)), Instead(echo(200)), Truncate()]):
                hub.faults.set(*([Fault("*", ".*", fault, nth=0)] if fault else []))
                for tool, arguments in (
                    ("get_ticket", {"ticket": "1"}),
                    ("update_ticket", {"ticket": "1", "comment": f"Said by a server, {number}."}),
                    ("get_deployment", {"deployment": "web", "environment": "plugin"}),
                ):
                    told = server.ask(request(f"{number}{tool}", tool, **arguments))
                    self.evidence.add("answers", json.dumps(told))
            hub.faults.set()
            self.evidence.add("metrics", _scraped(worker))
            server.end()
            self.evidence.add("standard error", server.said())
        self.evidence.add("standard error", worker.read_bytes())

    @contextmanager
    def _worker(self, *options: str, **variables: str) -> Iterator[Path]:
        errors = self.operator / "worker.stderr"
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "keyturn", "--home", str(self.home), "worker", *options],
                env={"PATH": os.environ["PATH"], **variables},
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
            try:
                yield errors
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)

    def gather(self) -> None:
        """Take in every file of the home, and what the operator's commands wrote."""
        self.evidence.files("files of the home", self.home)
        for path in (*self.operator.glob("*.json"), self.operator / "backup.db"):
            self.evidence.add("exports and copies", path.read_bytes())
        for system in self.systems:
            if system.proxy is not None:
                for sent in system.proxy.seen.exchanges:
                    told = f"{sent.method} {sent.path}?{sent.query}\n{sent.headers}\n"
                    self.evidence.add(f"requests to {system.place}", told.encode() + sent.body)


def _again(arguments: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return arguments that are another request's."""
    if "title" in arguments:
        return {**arguments, "title": f"Greet people in spite of {name}"}
    if "comment" in arguments:
        return {**arguments, "comment": f"In spite of {name}.", "status": None}
    return arguments


async def _asked(ports: Ports, *, whole: bool) -> list[BaseException]:
    """Make reads of every back end at once; return what they raise. `whole`: operators' checks as well."""
    calls: list[Callable[[], Any]] = []
    for forge in ports.forge.values():
        calls += [forge.check] if whole else []
        calls += [partial(forge.snapshot, "main", ["README.md"]), forge.audience]
        if isinstance(forge, Merges):
            calls.append(partial(forge.proposal, 1))
    for deployment in ports.deployments.values():
        calls += [deployment.check] if whole else []
        calls += [partial(deployment.snapshot, environment) for environment in deployment.environments]
    for tracker in ports.tickets.values():
        calls += [tracker.check] if whole else []
        calls += [partial(tracker.snapshot, "1")]
    raised: list[BaseException] = []

    together = anyio.CapacityLimiter(4 if whole else 16)  # where answers are waited for in vain, all at once

    async def tried(call: Callable[[], Any]) -> None:
        try:
            async with together:
                await call()
        except Exception as error:  # noqa: BLE001 - looked at by the campaign
            raised.append(error)

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(tried, call)
    return raised


def _scraped(errors: Path) -> bytes:
    def started() -> str | None:
        lines = [json.loads(line) for line in errors.read_text().splitlines() if line.startswith("{")]
        return next((line["message"] for line in lines if line["event"] == "metrics.started"), None)

    address = until(started).removeprefix("metrics on ")
    with urllib.request.urlopen(address, timeout=30) as told:  # noqa: S310 - http on loopback
        scraped: bytes = told.read()
    return scraped


# the stage


@contextmanager
def campaign(folder: Path, founded: Founded, emulator: Emulator) -> Iterator[Campaign]:
    """Set up a home whose systems are all there, each with another kind of credential."""
    operator = folder / "operator"
    operator.mkdir(mode=0o700)
    with ExitStack() as stack:
        made = Campaign(World(folder / "home", founded), operator)
        stack.callback(made.world.close)
        stack.enter_context(logged(made.evidence))
        emulator = emulator.again()
        tables = [
            _hub(made, stack, emulator, "forge.shop", "env"),
            _hub(made, stack, emulator, "forge.app", "app"),
            _hub(made, stack, emulator, "tickets.ops", "file"),
            _far(made, stack, folder),
            *_line(made, stack, folder),
            _web(made, stack, folder),
        ]
        (made.home / "keyturn.toml").write_text("version = 1\n\n" + "\n\n".join(tables) + "\n", encoding="utf-8")
        made.world.activate(*POLICY)
        made.world.gate.close()
        made.world.gate = made.world.open()
        yield made


def _before(stack: ExitStack, emulator: Emulator) -> FaultProxy:
    tokens = emulator.tokens
    manners = Manners(known=set(tokens.values()), scopes={tokens["ada"]: "repo, user"})
    proxy = FaultProxy(emulator.url, inner=(_Remembering(), manners))
    stack.enter_context(proxy)
    return proxy


class _Remembering:
    """A layer: notes the tokens that an App is given, which are credentials, too."""

    given: list[str] = []  # noqa: RUF012 - of the whole process

    async def __call__(self, request: Request, onward: Any) -> Answer:
        said: Answer = await onward(request)
        if request.path.endswith("/access_tokens") and said.status == 201:
            self.given.append(said.json()["token"])
        return said


def given_tokens() -> list[str]:
    """Return the tokens that Apps were given so far."""
    return list(_Remembering.given)


def _hub(made: Campaign, stack: ExitStack, emulator: Emulator, place: str, kind: str) -> str:
    proxy, repository = _before(stack, emulator), emulator.repository()
    number = repository.issue("Checkout is slow", "It takes nine seconds.") if place == "tickets.ops" else 0
    if number == 0:
        _proposed(repository)
    match kind:
        case "env":
            os.environ[VARIABLE] = made.canaries.add("the token in a variable", emulator.tokens["ada"])
            stack.callback(os.environ.pop, VARIABLE, None)
            credential = f'credential = "env:{VARIABLE}"'
        case "file":
            path = made.keep("ops-token", made.canaries.add("the token in a file", emulator.tokens["carol"]))
            credential = f'credential = "file:{path}"'
        case _:
            path = made.keep("app.pem", made.canaries.add("the App's key", emulator.pem.read_text("ascii")))
            credential = f'app = {{ id = {emulator.app_id}, key = "file:{path}" }}'
    name = place.partition(".")[2]
    ask: tuple[str, Mapping[str, Any]] = (
        ("update_ticket", {"ticket": str(number), "status": "closed", "comment": "Done."})
        if number
        else ("open_pull_request", {**OPENING, "repository": name, "files": _files(name)})
    )
    made.systems.append(System(place, proxy, ask))
    return "\n".join(
        [
            f"[{place}]",
            'kind = "github"',
            f'url = "{proxy.url}"',
            f'repository = "{ORGANISATION}/{repository.name}"',
            credential,
            "private = true",
            "pause = 0",
            "timeout = 2",
            "deadline = 3",
        ]
    )


def _proposed(repository: Repository) -> None:
    repository.branch("work")
    repository.push("work", {"src/new.py": b"print('new')\n"})
    repository.open_pull("work")


def _files(name: str) -> list[dict[str, str]]:
    return [{"path": f"docs-of-{name}.md", "content": "Hello.\n"}]


def _far(made: Campaign, stack: ExitStack, folder: Path) -> str:
    server = stack.enter_context(git_http(folder / "far"))
    user, password = WRITER
    path = made.keep("far-password", made.canaries.add("the password that a program prints", password))
    made.canaries.add("the pair of basic authentication", f"{user}:{password}")
    made.systems.append(
        System(
            "forge.far", server.proxy, ("open_pull_request", {**OPENING, "repository": "far", "files": _files("far")})
        )
    )
    url = server.url.replace("://", f"://{user}@")
    lines = [f'url = "{url}"', f'credential = "command:cat {path}"', "private = true", "timeout = 4"]
    return "\n".join(["[forge.far]", 'kind = "git-remote"', *lines])


def _line(made: Campaign, stack: ExitStack, folder: Path) -> list[str]:
    if ssh.missing() is not None:
        return []
    (folder / "line").mkdir()
    server = stack.enter_context(ssh.ssh(folder / "line"))
    made.canaries.add("the key for SSH", server.writer.read_text("ascii"))
    ask = "open_pull_request", {**OPENING, "repository": "line", "files": _files("line")}
    made.systems.append(System("forge.line", None, ask))
    lines = [f'url = "{server.url}"', f'key = "{server.writer}"', f'known_hosts = "{server.known_hosts}"']
    return ["\n".join(["[forge.line]", 'kind = "git-remote"', *lines, "private = true", "timeout = 20"])]


def _web(made: Campaign, stack: ExitStack, folder: Path) -> str:
    (folder / "kube").mkdir()
    kube = stack.enter_context(kubernetes(folder / "kube", tls=True))
    kube.cluster.deploy(image="shop:41")
    kube.cluster.release("shop:42")
    made.canaries.add("the token of a kubeconfig", TOKEN)
    assert kube.client is not None
    made.canaries.add("the key of a client certificate", kube.client.key.read_text("ascii"))
    made.canaries.add("the same key in a kubeconfig", _embedded(kube))
    ask = "rollback_deployment", {"deployment": "web", "environment": "production", "to": "previous"}
    made.systems.append(System("deployments.web", kube.proxy, ask))
    flavours = {
        "production": kube.kubeconfig(name="by-token"),
        "certificate": kube.kubeconfig(name="by-certificate", user="certificate"),
        "embedded": kube.kubeconfig(name="by-embedded", user="certificate", embedded=True),
        "plugin": kube.kubeconfig(name="by-plugin", user="exec"),
        "filed": kube.kubeconfig(name="by-file", user="token-file"),
    }
    rows = [f'{name} = {{ kubeconfig = "{path}", deployment = "web" }}' for name, path in flavours.items()]
    shared = [
        "private = true",
        "timeout = 2",
        "deadline = 3",
        'health_timeout = "5s"',
        "[deployments.web.environments]",
    ]
    return "\n".join(["[deployments.web]", 'kind = "kubernetes"', *shared, *rows])


def _embedded(kube: Kubernetes) -> str:
    document = yaml.safe_load(kube.kubeconfig(name="read-once", user="certificate", embedded=True).read_text())
    text: str = document["users"][0]["user"]["client-key-data"]
    return text
