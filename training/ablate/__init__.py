"""The report's Tables 2 and 3: trains, evaluates and compares their rows with one command."""
