"""What the command line's exit codes mean (design section 8)."""

DONE = 0
REFUSED = 1  # a rule refused; it is printed
WRONG_USAGE = 2
NOT_REACHABLE = 3
VERIFICATION_FAILED = 4
