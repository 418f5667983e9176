"""What is trained: methods, their control twins, the options of a study, and the design table that they make."""
