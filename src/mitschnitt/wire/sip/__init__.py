"""SIP as bytes in and events out (RFC 3261 and what builds on it). No sockets, no clock, no randomness."""
