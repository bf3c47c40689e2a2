"""The city over HTTP: the NGSI-LD API (CIM 009, clause 6) and the routes that operate it."""
