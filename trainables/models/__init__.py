"""What is trained? The classifiers, and files of weights.

Imports `errors` alone. Only `weights` does without torch.
"""
