"""Better latents for pre-trained generators, without retraining."""
