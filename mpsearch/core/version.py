"""The version of this package: part of the identity of what it stores."""

__all__ = ["__version__"]

__version__ = "0.1.0"
