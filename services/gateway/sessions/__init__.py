"""Sessions between streams: made, found, cut, ended; what each of them asks for and shows."""
