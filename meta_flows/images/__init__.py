"""Images: what each is made of, and so what it is called."""

from meta_flows.images.naming import Context, Image, describe_image

__all__ = ["Context", "Image", "describe_image"]
