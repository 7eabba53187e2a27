"""Tells who else manages a Deployment: what GitOps tools, Helm and controllers leave on the objects they own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyturn.connectors.deployments.kubernetes.objects import Live
from keyturn.model.text import visible

_TRACKED: Final = "argocd.argoproj.io/tracking-id"  # `<application>:<group>/<kind>:<namespace>/<name>`
_ARGO_LABEL: Final = "argocd.argoproj.io/instance"
_INSTANCE: Final = "app.kubernetes.io/instance"  # Argo CD's own default up to 2.14; charts of Helm write it as well
_FLUX: Final = (("kustomize.toolkit.fluxcd.io", "Kustomization"), ("helm.toolkit.fluxcd.io", "HelmRelease"))
_FLUX_MANAGERS: Final = {"kustomize-controller": "Kustomization", "helm-controller": "HelmRelease"}
_HELM: Final = "meta.helm.sh/release-name"
_MANAGED_BY: Final = "app.kubernetes.io/managed-by"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who else manages it, and where a rollback has to be made instead; `advice` is "" where here is right."""

    name: str
    advice: str = ""


def owner_of(live: Live) -> Owner | None:
    """Return the owner that counts: a GitOps tool before Helm before a controller; None where nobody is seen."""
    return _argo(live) or _flux(live) or _helm(live) or _controller(live)


def instance_note(live: Live) -> str | None:
    """Say of a label that older Argo CD goes by that nothing else speaks for Argo CD; None where it is not there."""
    name = live.labels.get(_INSTANCE)
    if name is None or owner_of(live) is not None:
        return None
    label = f"{_INSTANCE}={visible(name)}"
    return f"It carries the label {label}, which Argo CD before 3.0 goes by; nothing else speaks for Argo CD."


def _argo(live: Live) -> Owner | None:
    # https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/
    name = live.annotations.get(_TRACKED, "").partition(":")[0] or live.labels.get(_ARGO_LABEL)
    written = any(manager.startswith("argocd") for manager in live.managers or ())
    if name is None and (written or (live.managers is None and _HELM not in live.annotations)):
        # Without managedFields there is no telling whose label it is; with Helm's own mark it is Helm's.
        name = live.labels.get(_INSTANCE)
    if name is None and not written:
        return None
    application = f" application {visible(name)}" if name else ""
    advice = "roll back there (argocd app rollback) or revert the commit it follows; it would undo this one"
    return Owner(f"Argo CD{application}", advice)


def _flux(live: Live) -> Owner | None:
    # https://fluxcd.io/flux/faq/
    for prefix, kind in _FLUX:
        name = live.labels.get(f"{prefix}/name")
        if name is not None:
            namespace = live.labels.get(f"{prefix}/namespace", "")
            return _flux_owner(kind, f" {visible(namespace)}/{visible(name)}")
    for manager, kind in _FLUX_MANAGERS.items():
        if manager in (live.managers or ()):
            return _flux_owner(kind, "")
    return None


def _flux_owner(kind: str, name: str) -> Owner:
    advice = "revert the commit it follows, or suspend it (flux suspend) first; it would undo this rollback"
    return Owner(f"Flux {kind}{name}", advice)


def _helm(live: Live) -> Owner | None:
    name = live.annotations.get(_HELM)
    if name is None and live.labels.get(_MANAGED_BY) != "Helm":
        return None
    return Owner(f"Helm release {visible(name)}" if name else "Helm")


def _controller(live: Live) -> Owner | None:
    return Owner(visible(live.owners[0])) if live.owners else None
