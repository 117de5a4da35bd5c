"""Print the requirements of dependency groups in pyproject.toml, for a pip too old to know them."""

import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    groups = tomllib.load(file)["dependency-groups"]
print(*(requirement for name in sys.argv[1:] for requirement in groups[name]))
