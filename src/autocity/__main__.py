"""`python -m autocity` is the command line."""

from autocity.cli import main

if __name__ == "__main__":
    main()
