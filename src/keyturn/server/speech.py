"""The server's words for its operator, on standard error: those of `telemetry.speech`."""

from keyturn.telemetry.speech import line, place_of, say, set_up

__all__ = ["line", "place_of", "say", "set_up"]
