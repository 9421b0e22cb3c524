"""Pictures of networks: feature maps and diagrams, on a canvas that counts in points."""
