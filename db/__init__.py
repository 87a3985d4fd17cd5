"""The memory: Postgres is the only truth. Schema, migrations and every SQL statement live here.

Functions take a connection; callers own the transaction. Nothing here imports the other two rooms.
"""
