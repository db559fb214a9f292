"""The ONNX file for integer kernels."""

from mpsearch.targets.onnx_qdq.target import OnnxQdq

__all__ = ["OnnxQdq"]
