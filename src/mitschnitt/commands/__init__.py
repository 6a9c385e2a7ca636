"""One file per verb of the command line; each is loaded when it is called."""
