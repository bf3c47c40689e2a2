"""autocity: the open-source platform that an automobile city runs on."""

__version__ = "0.1.0"
