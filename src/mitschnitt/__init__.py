"""Call recording for contact centres that asks first and can prove it."""

__version__ = "0.1.0"
