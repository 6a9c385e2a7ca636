"""Shells towards others: the simulated contact centre, exports."""
