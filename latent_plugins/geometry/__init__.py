"""The geometry of a generator as a max-affine spline: regions, slopes, densities, angles, inversion."""
