"""One small file for each framework, over what they have in common: `gate.py`. None of them knows a repository."""
