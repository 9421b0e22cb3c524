"""Writes a network in the formats of its frameworks, and as a program; checks each file before it is put in place."""
