"""What `keyturn connector check` finds out about the wiring as a whole."""

from __future__ import annotations

from pathlib import Path

import anyio

from keyturn.assembly.connectors import check, declared
from keyturn.assembly.home import Home

WIRING = """
version = 1

[forge.shop]
kind = "github"
url = "https://127.0.0.1:9"
private = true
repository = "Acme/Shop"
credential = "env:KEYTURN_NO_SUCH_TOKEN"

[forge.sandbox]
kind = "github"
url = "https://127.0.0.1:9/"
private = true
repository = "acme/shop"
credential = "env:KEYTURN_NO_SUCH_TOKEN"

[deployments.web]
kind = "kubernetes"
url = "https://127.0.0.1:9"
private = true
credential = "env:KEYTURN_NO_SUCH_TOKEN"
environments = { production = { namespace = "web", deployment = "web" } }

[deployments.try]
kind = "kubernetes"
url = "https://127.0.0.1:9/"
private = true
credential = "env:KEYTURN_NO_SUCH_TOKEN"
environments = { staging = { namespace = "web", deployment = "web" }, o = { namespace = "x", deployment = "x" } }

[deployments.away]
kind = "kubernetes"
kubeconfig = "missing"
environments = { production = { namespace = "web", deployment = "web" } }
"""


def test_one_system_under_two_names_is_found_whatever_its_spelling(tmp_path: Path) -> None:
    (tmp_path / "keyturn.toml").write_text(WIRING, encoding="utf-8")
    checked = anyio.run(check, Home(tmp_path), ())
    said = {one.declared.place: [item.text for item in one.findings if "same system" in item.text] for one in checked}
    tail = "what holds for one does not for the other"
    assert said == {
        "forge.shop": [f"forge.shop is the same system as forge.sandbox: {tail}"],
        "forge.sandbox": [f"forge.sandbox is the same system as forge.shop: {tail}"],
        "deployments.web": [f"deployments.web/production is the same system as deployments.try/staging: {tail}"],
        "deployments.try": [f"deployments.try/staging is the same system as deployments.web/production: {tail}"],
        "deployments.away": [],
    }


CARELESS = """
version = 1

[forge.a]
kind = "git-remote"
url = "https://ada:canary@git.example.org/shop.git"

[forge.b]
kind = "github"
url = "https://ada:can?ary/@ghe.example.org/api/v3?token=canary"
repository = "acme/shop"
credential = "env:NONE"

[forge.c]
kind = "git-remote"
url = "ada:canary@git.example.org:shop.git"

[deployments.web]
kind = "kubernetes"
url = "https://ada:canary@10.0.0.1:6443"
private = true
credential = "env:NONE"
environments = { production = { namespace = "web", deployment = "web" } }
"""


def test_a_password_in_an_address_is_shown_by_nothing(tmp_path: Path) -> None:
    (tmp_path / "keyturn.toml").write_text(CARELESS, encoding="utf-8")
    listed, checked = declared(Home(tmp_path)), anyio.run(check, Home(tmp_path), ())
    assert {one.place: one.location for one in listed} == {
        "forge.a": "https://git.example.org/shop.git",
        "forge.b": "https://ghe.example.org/api/v3 acme/shop",
        "forge.c": "git.example.org:shop.git",
        "deployments.web": "production",
    }
    told = repr([(one.declared, one.findings) for one in checked])
    assert "ary" not in told
    assert told.count("must not hold") == 3
