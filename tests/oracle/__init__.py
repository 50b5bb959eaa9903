"""The networks once more, as plainly as they can be written: what faster forms are measured by."""
