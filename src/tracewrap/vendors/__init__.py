"""One file a vendor, same shape: pure readers. Found by listing this folder: adding a vendor is adding a file."""
