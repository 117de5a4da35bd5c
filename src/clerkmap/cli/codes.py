"""How a command ends: the exit codes, for cron and for CI."""

FINE = 0
NOT_FINE = 1  # it has done its work, and what it found is not as it should be
USAGE = 2  # click's own
CONFIGURATION = 3
UNAVAILABLE = 4
INTERRUPTED = 130
