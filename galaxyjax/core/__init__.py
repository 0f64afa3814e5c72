"""Units, cosmology, background, files, progress and errors: what every other room stands on."""
