"""Data with privileged columns: the container, its arrays, and which rows train, validate and test."""

from lupi.data.privileged_data import PrivilegedData

__all__ = ["PrivilegedData"]
