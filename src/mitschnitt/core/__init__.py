"""Decides: facts and `now` in, decisions out. No I/O, clock or randomness; imports only core and errors."""
