"""The arithmetic under the measures: products, signs, neighbors and spectra, block by block on any device."""
