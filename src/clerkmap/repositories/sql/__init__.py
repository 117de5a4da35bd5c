"""The shared parts of the SQL repositories, for SQLite and PostgreSQL: the tables, the statements, the work on them.

`repository.py` combines the parts. Each part is a class, and gets the other parts that it uses.
"""
