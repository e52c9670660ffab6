"""Readers: from files, archives and arrays as people have them to uint8 images."""
