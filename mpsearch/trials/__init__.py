"""One trial: an allocation, trained up the rungs and scored."""
