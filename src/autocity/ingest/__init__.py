"""Outside data in, as entity fragments: mappings, files, protocols, and the simulated living layer of the demo city."""
