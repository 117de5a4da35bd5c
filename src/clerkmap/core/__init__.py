"""The rules, and nothing but the rules: no socket, no SQL, no clock, no framework.

Time, randomness and keys come in as arguments; answers and errors go out as values. `instance.py` may read the
environment, and `validation.py` a key file, while the application is put together. A test,
`tests/system/test_architecture.py`, holds this.
"""
