"""What a run, a file and a command line withstand: fuzzers, kills, full disks, damaged files, attacks; one command each."""
