"""Second Look: five reports on image classification, run again and held against what was measured."""

__version__ = "0.1.0"
