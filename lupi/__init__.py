"""Learning using privileged information: multi-task distillation whose gains can be trusted."""

__version__ = "0.1.0"
