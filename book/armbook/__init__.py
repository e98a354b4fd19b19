"""The book's code: what its chapters train, draw, tabulate and say, and how its pages are built. It stands on armlib."""
