"""`keyturn action`: everything about single actions."""

from keyturn.cli.frame import Verbs

command = Verbs("keyturn.cli.verbs.action", name="action", help="Look at actions, review them, settle them.")
