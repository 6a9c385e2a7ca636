"""`python -m mitschnitt` is the command `mitschnitt`."""

from mitschnitt.cli import main

main()
