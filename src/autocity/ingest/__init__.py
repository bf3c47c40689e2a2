"""Outside data in, as entity fragments: mappings, files, protocols, and the demo city's simulated layer."""
