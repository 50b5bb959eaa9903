"""Generated from protos/flashtalk/v1 by `make protos`; never edited."""
