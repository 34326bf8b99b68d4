"""Weight files: names both ways, readers that execute nothing, downloads; no Paddle here."""
