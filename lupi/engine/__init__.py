"""The engine: all models of one program are trained as a single tensor program, each by itself."""
