"""What reading and writing are made of."""
