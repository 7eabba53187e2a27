"""`keyturn action approve`: a person's signed yes."""

from keyturn.cli.reviewing import review_command

command = review_command("approve")
