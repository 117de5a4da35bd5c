"""`python -m clerkmap` is the `clerkmap` command."""

from .cli import main

if __name__ == "__main__":
    main()
