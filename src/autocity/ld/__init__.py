"""The language of the standard: contexts, entities, queries, merge rules, temporal windows.

Pure: no clock, no network, no store. What must be fetched or timed is handed in.
"""
