"""Deployments of Kubernetes keep what every back end of the port promises."""

from __future__ import annotations

from tests.connectors.deployments.contract import DeploymentsContract


class TestKubernetes(DeploymentsContract):
    """In the world of `conftest.py`."""
