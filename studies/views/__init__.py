"""Views of a stored study: frames from which tables, figures and the report are made."""
