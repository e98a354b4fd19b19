"""What Sphinx is told of this book: extensions that `_config.yml` names, each with a ``setup`` of its own."""
