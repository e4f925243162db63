"""What happens to a call after it is recorded: joined, written, learned from, counted and exported, on threads of our own."""
