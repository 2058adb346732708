"""``python -m keypool_cli``: the command line, where no ``keypool`` is on the path."""

from keypool_cli.cli.main import main

if __name__ == "__main__":
    main()
