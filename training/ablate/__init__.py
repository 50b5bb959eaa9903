"""The report's Tables 2 and 3: rows trained, judged and compared by one command."""
