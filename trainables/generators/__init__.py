"""Where do synthetic samples come from? GANs, inverted generators, and drawing from them.

May import `training` and what stands below it.
"""
