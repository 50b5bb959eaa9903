"""Networks, one package each: config, model, weights."""
