"""`python -m desta.cli`."""

from desta.cli import main

if __name__ == "__main__":
    main()
