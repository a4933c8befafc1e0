"""`python -m penstock` is the `penstock` command."""

from penstock.interfaces.cli import main

main()
