"""Framework adapters: one module or package for each, all built on `authenticator.py`."""
