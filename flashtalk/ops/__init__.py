"""Pure tensor functions: attention, rotary embedding, norms."""
