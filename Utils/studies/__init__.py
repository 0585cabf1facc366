"""The conservation and saliency studies: their measurements, their files and their printed results."""
