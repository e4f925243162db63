"""The demo: a real small model served on this machine, called through the real SDK beside a competing client, measured and reported."""
