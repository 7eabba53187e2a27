"""Servers that others wrote, on loopback, and what stands between them and our connectors.

Fixtures (`tests.bed.fixtures`; a room's `conftest.py` imports those it uses):

- `github_emulator`  session  `Emulator`: GitHub as `emulate` plays it, and other people's doings there
- `github`           test     `Forge`: that emulator behind a `FaultProxy` with GitHub's `Manners`; `forge.url` is for
                              our connector, `forge.faults.set(Fault(…))` plans faults, `forge.seen` and
                              `forge.reached` are the requests that were sent and that got there

Without a fixture: `programs.program` (run a server, wait by asking, end it by its id), `recorder.Proxy` (write down
requests), `faults.FaultProxy` (the same with faults).
"""
