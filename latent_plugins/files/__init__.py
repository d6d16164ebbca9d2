"""Files that the project writes and reads again."""
