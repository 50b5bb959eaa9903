"""The training loop and what it is made of; knows nothing about models or data."""
