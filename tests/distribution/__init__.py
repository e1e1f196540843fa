"""The wheel and the sdist, built and installed outside the checkout."""
