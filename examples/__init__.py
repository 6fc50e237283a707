"""Small applications to run, to read and to copy from."""
