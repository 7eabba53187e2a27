"""A cluster for the matrix: each cell has a Deployment with another history, so that no two ask for the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from tests.bed.faults import FaultProxy, Instead, Meanwhile, kubernetes_refusal
from tests.bed.recorder import Answer, Next, Request, answer
from tests.connectors.kubernetes.apiserver import TOKEN, ApiServer, number, serving
from tests.faults.matrix.bench import Asked, Bench, Seen, Write
from tests.faults.matrix.troubles import ON_THE_WAY, Trouble, always, answered

REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(slots=True)
class Kubernetes:
    """The API server behind faults; as a layer, it is whichever server the cell has."""

    proxy: FaultProxy = field(init=False)
    server: ApiServer = field(default_factory=lambda: serving("1", "2", "3"))
    _cells: Iterator[int] = field(default_factory=count)

    async def __call__(self, request: Request, onward: Next) -> Answer:
        """Let the server of this cell answer."""
        return await self.server(request, onward)

    def wiring(self) -> str:
        """Return the deployment, in one environment."""
        where = f'kind = "kubernetes"\nurl = "{self.proxy.url}"\ncredential = "file:token"\nprivate = true\n'
        place = 'production = { namespace = "shop", deployment = "web" }'
        return f'[deployments.web]\n{where}health_timeout = "5s"\nenvironments = {{ {place} }}\n'

    def token(self) -> str:
        """Return the bearer token."""
        return TOKEN

    def lie(self, request: Request) -> Answer:
        """Show the Deployment as it is, as if it were changed."""
        with self.server.lock:
            return answer(200, json.loads(json.dumps(self.server.deployment)))

    def change(self) -> None:
        """Write to the Deployment as its autoscaler or a person does; nothing that was reviewed changes."""
        self.server.touch()


def rolling_back(kubernetes: Kubernetes, bench: Bench) -> Asked:
    """Begin with one revision more than the last cell; what is asked for is the one before the last."""
    tags = [f"1.{minor}" for minor in range(next(kubernetes._cells) + 3)]
    kubernetes.proxy.seen.forget()
    server = kubernetes.server = serving(*tags)
    to = tags[-2]

    def look(action: str) -> Seen:
        rollouts = list(server.rollouts)
        marked = [mark["id"] for mark in server.marks("keyturn/actions")]
        return Seen(len(rollouts), whole=rollouts == [to] and marked == [action], clean=not rollouts and not marked)

    return Asked({"deployment": "web", "environment": "production", "to": str(number(server.set_of(to)))}, look)


def refuse(status: int, **headers: str) -> Answer:
    """Make a refusal as the API server words it."""
    said = kubernetes_refusal(status, REASONS[status])
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(status, (*said.headers, *named), said.body)


TROUBLES: dict[str, Trouble] = {
    **ON_THE_WAY,
    **answered(refuse),
    "is answered 401": Trouble(always(Instead(refuse(401)))),
    "is answered 404": Trouble(always(Instead(refuse(404)))),
    "is answered 504": Trouble(always(Instead(refuse(504)))),
    "arrives after somebody changed the object": Trouble(lambda client, post: Meanwhile(client.others)),
}

_PATCH = r".*/deployments/web"
WRITES: dict[str, Write] = {
    "roll back a deployment": Write(
        "rollback_deployment",
        {"dry run": ("PATCH", _PATCH, 1), "change": ("PATCH", _PATCH, 2)},
        rolling_back,
        TROUBLES,
    ),
}


@contextmanager
def kubernetes_of() -> Iterator[Kubernetes]:
    """Serve a cluster as long as the block lasts."""
    made = Kubernetes()
    with FaultProxy(("127.0.0.1", 9), inner=(made,)) as made.proxy:
        yield made
