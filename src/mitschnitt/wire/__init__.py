"""Reads and writes bytes, sans-IO; imports only wire and errors."""
