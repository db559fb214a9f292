"""Memory and time of the stages of a search, as multiples of the float network's own."""
