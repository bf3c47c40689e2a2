"""The city on PostgreSQL: for several processes, and for more than one machine holds."""

from autocity.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
