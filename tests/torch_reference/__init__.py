"""Tacotron 2 and WaveGlow in torch: a second implementation, to hold the ONNX graphs against.

Written from the networks' description alone and sharing no code with `harness.models.graphs`; what
both read is the table of layer sizes. The modules' attributes are named so that a `state_dict` has
the keys of NVIDIA's checkpoints.
"""
