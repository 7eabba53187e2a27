"""Clusters of Kubernetes: how their API servers are reached, by kubeconfig, from a pod, or by address and token."""

from __future__ import annotations

from keyturn.connectors.kubernetes.cluster import Cluster, Missed, cluster_of, segment
from keyturn.connectors.kubernetes.settings import OWN, Reaching

__all__ = ["OWN", "Cluster", "Missed", "Reaching", "cluster_of", "segment"]
