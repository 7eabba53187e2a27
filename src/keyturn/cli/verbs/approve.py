"""`keyturn approve`: short for `keyturn action approve`."""

from keyturn.cli.reviewing import review_command

command = review_command("approve")
