"""The test bed's own tests take its fixtures as other rooms do."""

from __future__ import annotations

from tests.bed.fixtures import github, github_emulator, github_prism, kube, kubernetes_prism

__all__ = ["github", "github_emulator", "github_prism", "kube", "kubernetes_prism"]
