"""Measures, tests of equivalence, and encoders measured on collections."""
