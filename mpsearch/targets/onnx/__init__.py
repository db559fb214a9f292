"""The ONNX file."""

from mpsearch.targets.onnx.target import Onnx

__all__ = ["Onnx"]
