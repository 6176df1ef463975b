"""Pictures for people, as PNG files: the course of a run, its mistakes, and the inside of a network."""
