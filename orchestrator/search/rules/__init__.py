"""Rules of selection: each says where the next litter is born."""
