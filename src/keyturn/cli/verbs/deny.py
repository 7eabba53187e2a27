"""`keyturn deny`: short for `keyturn action deny`."""

from keyturn.cli.reviewing import review_command

command = review_command("reject")
