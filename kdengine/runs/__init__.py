"""Runs and what they leave: started, watched, listed, judged; their checkpoints, and the catalogue of networks.

A run is a folder (`store`), written by a worker process (`worker`, `session`) and read by whoever looks. What nobody
trains is read without torch.
"""
