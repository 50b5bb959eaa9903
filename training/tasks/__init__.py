"""What each recipe learns: models, losses, evaluation, export."""
