"""What is behind the double of the MagicMind SDK: a strict runtime that executes ONNX on the CPU.

The package `magicmind` beside this one has the SDK's names and nothing else; everything a test
sets or looks at is here. It runs on Python 3.7 with numpy and onnxruntime.
"""
