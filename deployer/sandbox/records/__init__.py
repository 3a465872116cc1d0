"""Which sandbox hosts there are: names, records on disk, and in what condition each is."""
