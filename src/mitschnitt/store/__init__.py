"""Remembers: tables and named queries, one writer with group commit."""
