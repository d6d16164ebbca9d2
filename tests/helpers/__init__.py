"""What several test modules use: files to read, networks to sample from, laws to compare with, kills."""
