"""What is read out of a stored study: frames that tables, figures and the report are made of."""
