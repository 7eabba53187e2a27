"""The value passes several tests at once."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.policy.conditions.result import Met, Result, Test, Unmet


@dataclass(frozen=True, slots=True)
class AllOf:
    """Met if all `tests` are; the first that fails is told, else the first that cannot be judged."""

    tests: tuple[Test, ...]

    @property
    def asked(self) -> str:
        """See `Test`."""
        return " and ".join(test.asked for test in self.tests)

    def judge(self, value: object) -> Result:
        """See `Test`."""
        results = [test.judge(value) for test in self.tests]
        failed = next((result for result in results if isinstance(result, Unmet)), None)
        doubtful = next((result for result in results if not isinstance(result, Met)), None)
        return failed or doubtful or Met(value, self)
