"""What ``tracewrap run`` puts into the program it starts."""
