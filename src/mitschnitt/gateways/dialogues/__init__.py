"""Dialogues of the simulated contact centre: their text, the program that speaks them, and the speech."""
