"""One open stream: what arrives, what is made of it chunk by chunk, and when it leaves."""
