"""Keeps sealed audio: formats, key tree, journals, blobs and the one door to them."""
