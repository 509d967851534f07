"""Images: named after their content, and built, pushed and pulled by a Docker engine."""

from meta_flows.images.naming import BuildContext, Image, describe_image

__all__ = ["BuildContext", "Image", "describe_image"]
