"""Things that look like credentials, put together when they are asked for: this repository itself holds none."""

from __future__ import annotations

from collections.abc import Mapping

HEX = "0123456789abcdef"
LETTERS = "AbCdEfGh1jKlMn0pQrStUvWxYz23456789"


def filled(length: int, letters: str = LETTERS) -> str:
    """Return so many letters that repeat."""
    return (letters * (length // len(letters) + 1))[:length]


def credentials() -> Mapping[str, tuple[str, ...]]:
    """Return, by kind, lines that look like a credential of that kind."""
    dashes = "-" * 5
    upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return {
        "a private key": (
            f"{dashes}BEGIN PRIVATE KEY{dashes}",
            f"{dashes}BEGIN OPENSSH PRIVATE KEY{dashes}",
            f"{dashes}BEGIN RSA PRIVATE KEY{dashes}",
            f"{dashes}BEGIN PGP PRIVATE KEY BLOCK{dashes}",
            "PuTTY-User-Key-" + "File-3: ssh-ed25519",
        ),
        "an age key": ("AGE-SECRET-" + "KEY-1" + filled(58, upper),),
        "an AWS access key": tuple(f"aws_access_key_id = {kind}IA{filled(16, upper)}" for kind in ("AK", "AS")),
        "a GitHub token": (
            *(f"token: gh{kind}_{filled(36)}" for kind in "pousr"),
            "github_" + "pat_" + filled(82),
        ),
        "a GitLab token": ("gl" + "pat-" + filled(20),),
        "a Slack token": ("xox" + "b-" + filled(40, "1234567890"), "xapp" + "-1-" + filled(30)),
        "a Slack webhook": ("https://hooks." + "slack.com/services/" + "T00000000/B00000000/" + filled(24),),
        "a Stripe key": ("sk_" + "live_" + filled(24), "rk_" + "live_" + filled(24)),
        "a Google API key": ("AI" + "za" + filled(35), "GOC" + "SPX-" + filled(28)),
        "an API key of a language model": tuple("sk-" + kind + filled(60) for kind in ("ant-", "proj-", "")),
        "an npm token": ("npm" + "_" + filled(36),),
        "a PyPI token": ("pypi-" + "AgE" + filled(60),),
        "a SendGrid key": ("SG" + "." + filled(22) + "." + filled(43),),
        "a DigitalOcean token": ("dop" + "_v1_" + filled(64, HEX),),
        "a Docker token": ("dckr" + "_pat_" + filled(27),),
        "a Vault token": ("hvs" + "." + filled(30),),
        "an Azure storage key": ("AccountKey" + "=" + filled(86) + "==",),
        "a signed web token": ("ey" + "J" + filled(20) + "." + "ey" + "J" + filled(30) + "." + filled(43),),
        "a Keyturn token": ("kt" + "_" + filled(43),),
    }  # fmt: skip


def harmless() -> tuple[str, ...]:
    """Return lines that only speak of credentials, or have half of one."""
    return (
        "-" * 5 + "BEGIN PUBLIC KEY" + "-" * 5,
        "-" * 5 + "BEGIN CERTIFICATE" + "-" * 5,
        "ghp_short",
        "password = os.environ['PASSWORD']",
        "AKIA is how they begin",
        "sk-" + "short",
        "task-" + filled(12),
        "sha256:" + filled(64, HEX),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDen5f6qBbxHEjBX/+6N0/Rv26oRoQSRut+AJSwvd01 alice@example",
        "eyJ0.eyJ1.x",
        "npm_config_registry=https://registry.example",
    )


def diff_of(path: str, *added: str, removed: tuple[str, ...] = ()) -> str:
    """Return the diff that replaces some lines of one file by others."""
    head = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n"
    lines = [*(f"-{line}" for line in removed), *(f"+{line}" for line in added)]
    return f"{head}@@ -1,{len(removed)} +1,{len(added)} @@\n" + "".join(f"{line}\n" for line in lines)
