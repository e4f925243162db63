"""Other projects' files, and profile files on disk: found, listed, drawn."""
