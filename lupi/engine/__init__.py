"""The engine: all models of one program train as a single tensor program, independently of each other."""
