"""Reads iCalendar texts (RFC 5545) under bounds, and says of a moment whether it lies in one of their events.

`read_calendar` reads a text whole or not at all; `Calendar` answers. The libraries behind them take long to load, so
whoever reads policies imports this package only where a policy names a calendar.
"""
