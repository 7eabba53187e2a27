"""Servers that others wrote, on loopback, and what stands between them and our connectors.

Fixtures are in `tests.bed.fixtures`; a room's `conftest.py` imports those it uses and names them in `__all__`:

- `github_emulator` (session): `Emulator`, GitHub as `emulate` plays it, and other people's doings there
- `github` (test): `Forge`, that emulator behind a `FaultProxy` with GitHub's `Manners`; `github.url` is for our
  connector, `github.faults.set(Fault(...))` plans faults, `github.seen` and `github.reached` are the requests that
  were sent and that got there
- `github_prism`, `kubernetes_prism` (session): `Prism` with the prepared description; `all_valid(prism,
  seen.exchanges)`
- `kube` (test): `Kubernetes`, a small API server with faults before it; `kube.cluster` acts as other people and as
  the controller, `kube.writes` are the changes that were kept, `kube.kubeconfig(...)` writes a file for our connector

Without a fixture:

- `programs.program`: run a server, wait by asking, end it by its id; `node`: where Node and packages from npm are
- `recorder.Proxy`: write requests down; `faults.FaultProxy`: the same with faults (`Fault`, `Gate`, `Meanwhile`, ...)
- `kubernetes.kubernetes(folder, tls=True, server="expired")`: the API server with TLS and client certificates
- `kubectl.run`, `kubectl.stage`: real kubectl, and kmock to watch it on; `recordings/`: what it sends
- `git_http.git_http(folder)`, `ssh.ssh(folder)`: real git servers of one fresh repository, `git_remote.GitRemote`, in
  which other people work; over HTTP with faults before it
- `tls.Authority`: certificates that are good, late, or another's
"""
