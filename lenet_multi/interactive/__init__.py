"""The interactive page: trained networks that run in a browser, layer by layer, on what its reader draws."""
