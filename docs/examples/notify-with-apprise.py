#!/usr/bin/env python3
"""Sends what Keyturn has to tell through Apprise, to those who can act on it.

Apprise (https://github.com/caronc/apprise) knows mail, chat, pagers and more by URL. The one argument is its
configuration file, in which each reviewer's name is the tag of the services that reach this person.
"""

import json
import sys

import apprise

URGENT = {"nine-tenths", "unknown"}


def main() -> int:
    """Send one notice from standard input; return 1 unless everybody it is for was reached."""
    notice = json.load(sys.stdin)
    config = apprise.AppriseConfig()
    config.add(sys.argv[1])
    services = apprise.Apprise()
    services.add(config)
    kind = apprise.NotifyType.WARNING if notice["event"] in URGENT else apprise.NotifyType.INFO
    reached = [
        services.notify(
            title=notice["title"],
            body=notice["text"],
            body_format=apprise.NotifyFormat.TEXT,
            notify_type=kind,
            tag=person,
        )
        for person in notice["to"]
    ]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
