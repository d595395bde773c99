"""`python -m anubhav` is the command `anubhav`."""

from anubhav.cli import main

main()
