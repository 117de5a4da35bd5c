"""The shared parts of the SQL repositories: the tables, the statements, and the work on them, for every database.

`repository.py` combines the parts. Each part is a class, and gets the other parts that it uses.
"""
