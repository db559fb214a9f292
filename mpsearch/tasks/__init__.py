"""What a network is for: its loss, what a person reads, and how far two outputs are apart."""
