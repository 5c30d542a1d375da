"""The program: command-line arguments in, exit code out."""
