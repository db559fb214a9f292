"""Tables of every allocation of a real network, and who finds the best one in them soonest.

`build` makes a table, `compare` runs the searches over it, `ablations` takes parts of ours away. See README.md beside this file.
"""
