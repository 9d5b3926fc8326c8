"""The version of the software, kept apart from the versions of the store format, index schema and journal line."""

__version__ = "0.1.0.dev0"
