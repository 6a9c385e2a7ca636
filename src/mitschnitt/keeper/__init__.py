"""The one process that holds key state and writes the domain database."""
