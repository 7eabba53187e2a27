"""`keyturn action deny`: a person's signed no."""

from keyturn.cli.reviewing import review_command

command = review_command("reject")
