"""What results tell: metrics, tests, verdicts and causes. Arrays in, numbers out; nothing here knows an engine."""
