"""The command line of the library, `python -m lupi`, and what the commands of the repository share with it."""
