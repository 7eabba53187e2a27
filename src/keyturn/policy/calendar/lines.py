"""Brings the raw text of a calendar within bounds before any library sees it.

Time zone definitions are taken out: a zone is known by its name, from the tz database of the machine, as two
definitions of one name would make one calendar mean two things.
"""

from __future__ import annotations

from dataclasses import dataclass

LARGEST = 256 * 1024
"""Bytes of one calendar."""
MOST_COMPONENTS = 2000
DEEPEST = 4
_ZONE = "VTIMEZONE"
_ZONE_NAME = "X-WR-TIMEZONE"


class CalendarError(ValueError):
    """A calendar cannot be used; each of `problems` is (the component, or nothing; what is wrong with it)."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{place}: {text}" if place else text for place, text in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Lines:
    """A calendar's unfolded lines without time zone definitions, and the zone it names for itself, if it does."""

    text: str
    zone: str | None


def read_lines(text: str) -> Lines:
    """Check size, nesting and number of components. Raises `CalendarError`."""
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        raise CalendarError(("", f"has more than {LARGEST} bytes"))
    kept: list[str] = []
    opened: list[str] = []
    components, zone = 0, None
    for line in _unfolded(text):
        word, _, name = line.partition(":")
        inside = _ZONE in opened
        match word.strip().upper():
            case "BEGIN":
                opened.append(name.strip().upper())
                components += 1
                inside = inside or opened[-1] == _ZONE
            case "END":
                if not opened or opened.pop() != name.strip().upper():
                    raise CalendarError(("", f"END:{name.strip()[:40]} ends nothing that began"))
            case word if word == _ZONE_NAME and len(opened) == 1:
                zone = name.strip()
                inside = True
        _check(opened, components, line)
        if not inside:
            kept.append(line)
    if opened or components == 0:
        raise CalendarError(("", f"{opened[-1][:40]} does not end" if opened else "holds no BEGIN:VCALENDAR"))
    return Lines("\r\n".join(kept) + "\r\n", zone)


def _unfolded(text: str) -> list[str]:
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return [line for line in plain.replace("\n ", "").replace("\n\t", "").split("\n") if line.strip()]


def _check(opened: list[str], components: int, line: str) -> None:
    if len(opened) > DEEPEST:
        raise CalendarError(("", f"is nested deeper than {DEEPEST}"))
    if components > MOST_COMPONENTS:
        raise CalendarError(("", f"has more than {MOST_COMPONENTS} components"))
    if opened and opened[0] != "VCALENDAR":
        raise CalendarError(("", f"begins with {opened[0][:40]}, not with VCALENDAR"))
    if not opened and not line.upper().startswith("END"):
        raise CalendarError(("", f"{line[:40]!a} stands outside VCALENDAR"))
