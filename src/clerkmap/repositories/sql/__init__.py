"""What the SQL repositories share: the tables, the statements, and the work on them, whatever the database.

`repository.py` combines the parts. Each part is a class that is given the other parts it uses.
"""
