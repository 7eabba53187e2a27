"""Credentials of tests: texts that must turn up nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field

from keyturn.connectors.credentials import Secret

CANARY = "canary-5f1c0e7a9b"


@dataclass
class Fixed:
    """A source with the values it gives one after another; the next comes when one was refused."""

    text: str
    others: list[str] = field(default_factory=list, repr=False)

    async def read(self) -> Secret:
        return Secret(self.text)

    def forget(self) -> bool:
        if not self.others:
            return False
        self.text = self.others.pop(0)
        return True

    def __repr__(self) -> str:
        return "Fixed()"
