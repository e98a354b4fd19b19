"""Experiments from plain values to stored results, one at a time or many on a cluster."""
