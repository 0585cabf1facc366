"""The conservation and saliency studies: what is measured, saved and printed."""
