"""Images: named after their content, and built, pushed and pulled by a Docker engine."""

from meta_flows.images.naming import Context, Image, describe_image

__all__ = ["Context", "Image", "describe_image"]
