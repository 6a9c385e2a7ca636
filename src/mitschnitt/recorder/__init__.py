"""SIP server, RTP receiver and the session that joins wire, core and vault; no database, no key tree."""
