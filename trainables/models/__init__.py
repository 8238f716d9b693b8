"""What is trained? The classifiers, what they answer, files of weights.

May import `data` and what stands below it. `weights` does without torch.
"""
