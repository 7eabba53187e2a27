"""Ports to the systems acted on (`forge`, `deployments`, `tickets`, …) and one file or folder per back end."""
