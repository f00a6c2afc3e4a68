"""A trained policy without ppocli: as an ONNX model, or as a C header.

For others: `write` (either of them, to a file, checked), and of what it is made, `plan` (what a policy computes, as
numbers), `onnx`, `header`, `check` (whether they act alike).
"""

__all__ = ["check", "header", "onnx", "plan", "write"]
