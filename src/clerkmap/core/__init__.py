"""The rules, and nothing but the rules: no socket, no SQL, no clock, no framework.

Time, randomness and keys come in as arguments; answers and errors go out as values. `instance.py` alone may read the
environment and a key file, once, while the application is being put together. `tests/test_architecture.py` holds this.
"""
