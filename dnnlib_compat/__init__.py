"""Speaks the ecosystem: its files, its network interface, its conventions."""
