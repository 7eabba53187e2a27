"""What each key of `keyturn.toml` means: one sentence of Markdown each, for editors and for the reference page."""

from __future__ import annotations

from collections.abc import Mapping

_CREDENTIAL = "[where a token comes from](#credentials)"

TOP: Mapping[str, str] = {
    "version": "always `1`",
    "name": "how the log will be called when the home is founded: 1 to 63 of `a-z0-9.-`; `keyturn` unless given. A "
    "later change changes nothing",
    "forge": "repositories, by name",
    "deployments": "what is deployed, by name",
    "tickets": "trackers, by name",
    "anchors": "places that keep the log's checkpoints or cosign them, by name",
    "log": "the log",
    "http": "the server over HTTP",
    "notify": "who tells people",
    "timeouts": "how many seconds things may take",
    "retention": "how long payloads are kept",
}
LOG: Mapping[str, str] = {
    "key": "where the private half of the log key is: `file:PATH`, `agent:SHA256:…` or `command:WORDS` "
    "([more](../how-to/change-keys.md#keep-the-log-key-elsewhere)); `file:state/keys/log.key` unless given",
}
HTTP: Mapping[str, str] = {
    "hosts": "the names that a server over HTTP answers to besides `localhost`, `127.0.0.1` and `[::1]`: "
    '`"keyturn.example.com"` with any port, `"keyturn.example.com:8443"` with that one. Needed before it listens '
    "where others can reach it",
    "origins": 'web pages whose scripts may call, as browsers name them: `"https://console.example.com"`. Pages of '
    "this machine may call a server that only this machine reaches",
}
NOTIFY: Mapping[str, str] = {
    "command": "argv run with each notice on standard input, in the home's folder, without a shell; 1 to 100 words",
    "environment": "names of variables it gets beside `PATH`, `HOME` and `LANG`; none unless given, never "
    "`KEYTURN_TOKEN`",
}
RETENTION: Mapping[str, str] = {
    "default": "how long payloads are kept, such as `365d`, or `forever`, which it is unless given",
}
ANY_ENVIRONMENT = "the name of an environment"
OF_ENVIRONMENT = "how long those of that environment are; where a lane of the policy says it, that counts"
ANY_TOOL = "a tool's name, as `rollback_deployment`"
OF_TOOL = "an effect of that tool may take. A name that is no governed tool's is refused"
TIMEOUTS: Mapping[str, str] = {
    "default": "an effect of any tool may take; 600 unless given",
    "plan": "planning, reading and asking what became of an effect may take, each; 60 unless given",
}
OVER_HTTP: Mapping[str, str] = {
    "url": "where the interface begins: `https://HOST`, with port and path if need be. `http://` is for a loopback "
    "address alone, and needs `private`",
    "ca": "a file of PEM certificates, below the home unless absolute; they alone are trusted then. Without it, "
    "those of the operating system",
    "proxy": "`http://HOST:PORT` or `https://…`, asked for a tunnel (CONNECT). Proxies that want a password cannot "
    "be used",
    "private": "`true` allows private and loopback addresses; `false` unless given",
    "timeout": "seconds for one try, from connecting to the end of the answer; 10 unless given, at most 300",
    "deadline": "seconds for a call in all: its turn, each try, and the waits between them; 30 unless given, at most "
    "3600",
    "pause": "seconds between two changes on one host; 0 unless the kind says otherwise, at most 60",
}
_GITHUB: Mapping[str, str] = {
    "kind": '`"github"`',
    "url": "`https://api.github.com` unless given; of GitHub Enterprise Server `https://HOST/api/v3`",
    "repository": '`"OWNER/NAME"`',
    "credential": f"{_CREDENTIAL}; either this or `app`",
    "app": '`{ id = 123, key = "file:app.pem" }`, with `installation = 456` where it should not be looked up',
    "app.id": "the App's id, or its client id",
    "app.key": "[where its private key comes from](#credentials)",
    "app.installation": "its installation, where it is not to be looked up",
    "pause": "seconds between two changes; 1 unless given, as GitHub asks for",
}
_REMOTE: Mapping[str, str] = {
    "url": "`https://[USER@]HOST/PATH` or `ssh://USER@HOST[:PORT]/PATH`",
    "credential": "HTTPS: [where the password or token comes from](#credentials); without it, nobody's account",
    "key": "SSH: the file of a private key without a passphrase",
    "agent": "SSH: the socket of an agent, instead of `key`, or beside a public key that chooses one of its keys",
    "known_hosts": "SSH: the file with the server's host key; no other server is talked to",
    "ca": f"HTTPS: {OVER_HTTP['ca']}",
    "proxy": f"HTTPS: {OVER_HTTP['proxy']}",
    "private": OVER_HTTP["private"],
    "timeout": "seconds that one call of git may take, fetching the whole repository included; 120 unless given, "
    "2 to 3600",
}
_CLUSTER: Mapping[str, str] = {
    "kubeconfig": "a kubeconfig file",
    "context": "a context in it, if not its current one",
    "in_cluster": "`true`: the pod's own service account",
    "service_account": "where that is mounted, if not at the usual place",
    "url": "the address of an API server",
    "credential": _CREDENTIAL,
    "ca": "the authorities to trust, a file of PEM certificates",
    "tls_server_name": "the name in the server's certificate, where it is not that of the address",
}
_SHARED = {name: OVER_HTTP[name] for name in ("proxy", "private", "timeout", "deadline", "pause")}
_REQUIRED = (
    '`true`: it must have an intent before the effect, where a grant says `anchor = "before"`; `false` unless given'
)
_EVERY = 'how often it gets the newest checkpoint: `"10m"` unless given, `"1s"` to `"24h"`'

BACK_ENDS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("forge", "git"): {
        "kind": '`"git"`',
        "path": "a repository on this machine, bare or not. Linked work trees and submodules are refused: name the "
        "repository they belong to",
    },
    ("forge", "github"): _GITHUB,
    ("forge", "git-remote"): {"kind": '`"git-remote"`', **_REMOTE},
    ("deployments", "releases"): {
        "kind": '`"releases"`',
        "environments": "environment → folder; 1 to 50, each its own folder",
        "health": "argv run in the environment's folder after a switch, without a shell; none unless given. It gets "
        "`PATH`, `HOME`, `LANG`, `LC_ALL` and `TZ` and nothing else of the environment",
        "health_timeout": '`"60s"` unless given; at most 600 s. Then the whole process group is killed',
    },
    ("deployments", "kubernetes"): {
        "kind": '`"kubernetes"`',
        "environments": 'environment → `{ namespace = "shop", deployment = "web" }`, with a way of its own to a '
        "cluster where it has one; 1 to 50",
        "environments.NAME.namespace": "the namespace; that of the context or the pod unless given",
        "environments.NAME.deployment": "the Deployment",
        **{f"environments.NAME.{name}": says for name, says in {**_CLUSTER, **_SHARED}.items()},
        **_CLUSTER,
        "health_timeout": 'how long a rollout may take to become healthy; `"5m"` unless given, at most an hour',
        "dry_run": "whether the cluster's own dry run is asked for when planning; `true` unless given",
    },
    ("tickets", "folder"): {
        "kind": '`"folder"`',
        "path": "a folder with one `<ID>.md` per ticket, `<ID>` such as `OPS-1`",
        "statuses": "what a status may be set to, the first being that of a new ticket; `open`, `in progress`, "
        "`resolved`, `closed` unless given",
        "prefix": "what the ids of new tickets begin with, `OPS` for `OPS-1`; the one that all tickets have unless "
        "given",
    },
    ("tickets", "github"): _GITHUB,
    ("anchors", "file"): {
        "kind": '`"file"`',
        "path": "a folder that exists",
        "every": _EVERY,
        "required": _REQUIRED,
        "same_filesystem": "`true` allows a folder on the ledger's own file system; `false` unless given",
    },
    ("anchors", "git"): {
        "kind": '`"git"`',
        "path": "a repository on this machine, bare or not; nothing else but `every` and `required` is set with it",
        **_REMOTE,
        "url": 'a repository elsewhere; further settings are those of `[forge.NAME]` of kind "git-remote", with a '
        "`timeout` of 30 unless given",
        "timeout": "seconds that one call of git may take; 30 unless given, 5 to 3600",
        "every": _EVERY,
        "required": _REQUIRED,
    },
    ("anchors", "witness"): {
        "kind": '`"witness"`',
        "url": "what stands before `/add-checkpoint`; further settings are those of "
        "[back ends over HTTP](#back-ends-over-http)",
        "verifier": "the witness's verifier key; a cosignature by any other counts for nothing",
        "every": _EVERY,
        "required": _REQUIRED,
    },
    ("anchors", "rfc3161"): {
        "kind": '`"rfc3161"`',
        "url": "where a timestamp authority takes requests; further settings are those of "
        "[back ends over HTTP](#back-ends-over-http)",
        "certificates": "a file of PEM certificates: the authority's root, what stands between, and the authority's "
        "own if its tokens bring none",
        "every": _EVERY,
        "required": _REQUIRED,
    },
}
"""By port and kind; a key that is not there means what `OVER_HTTP` says."""
