"""Figures of a study: functions from frames to matplotlib figures, a file for each family; `style` holds what they
share."""
