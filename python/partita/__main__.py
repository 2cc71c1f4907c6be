"""``python -m partita`` is the ``partita`` command."""

from partita._command import main

if __name__ == "__main__":
    main()
