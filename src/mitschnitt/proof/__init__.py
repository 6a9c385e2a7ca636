"""Shows: what somebody who does not trust the operator checks with. Imports nothing of what is checked."""
