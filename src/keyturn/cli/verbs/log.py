"""`keyturn log`: shortcut of `keyturn audit log`."""

from keyturn.cli.verbs.audit.log import command

__all__ = ["command"]
