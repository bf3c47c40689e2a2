"""Snapshots are kept as tenants of their own, under names that no client can send."""

from __future__ import annotations

MARK = "§"
"""Stands between a tenant and a snapshot of it; no header of a tenant may hold it (6.3.14)."""


def shadow(tenant: str, snapshot: str) -> str:
    """The name under which a snapshot of a tenant is kept."""
    return f"{tenant}{MARK}{snapshot}"


def parted(name: str) -> tuple[str, str]:
    """The tenant, and the snapshot of it ("" for none), that a name stands for."""
    tenant, _, snapshot = name.partition(MARK)
    return tenant, snapshot
