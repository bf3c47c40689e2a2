"""The console: the city's pages for people. It is one more client of the HTTP API and knows no other room.

`routes` gives the pages, `refuse` answers a refusal with a page where a person asked and with
ProblemDetails where a program did.
"""

from autocity.console.error import refuse
from autocity.console.table import routes

__all__ = ["refuse", "routes"]
