"""Teachers: models whose scores of queries and passages a student learns from, and files of such scores."""
